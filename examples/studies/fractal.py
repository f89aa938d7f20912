"""The boundary between trainable and not is fractal: a map of two learning rates.

A two-layer tanh network with a learning rate a layer (Sohl-Dickstein, arXiv:2402.06184). Their
ratio is a coordinate that no step moves, the size of u in W0 = start + sqrt(ratio) u.
"""

import numpy as np

from fastopt import maths
from sweeps import problems, sweep
from sweeps.studies import Findings, main

N, ROWS = 8, 72  # inputs and hidden units; examples, as many as parameters


def network(x, grad, aux):
    X, y, W, scale = aux[0], aux[1], aux[2].copy(), aux[3][int(x[-1] + 0.5)]
    for j in range(ROWS):
        W[j] += (scale if j < N * N else 1.0) * x[j]
    V, H = W[N * N :], np.dot(X, W[: N * N].reshape(N, N))
    flat, grad[:] = H.reshape(-1), 0.0
    for j in range(ROWS * N):
        flat[j] = maths.tanh(flat[j])
    error = np.dot(H, V) / N - y
    for i in range(ROWS):
        share = 2.0 * error[i] / (N * ROWS)
        for k in range(N):
            grad[N * N + k] += share * H[i, k]
            H[i, k] = scale * share * V[k] * (1.0 - H[i, k] * H[i, k])
    np.dot(X.T, H, grad[: N * N].reshape(N, N))
    return np.dot(error, error) / ROWS


def by_numpy(X, y, start, lr0, lr1):
    W, V = start[:-N].reshape(N, N), start[-N:]
    for _ in range(300):
        H = np.tanh(X @ W)
        d = 2 * (H @ V / N - y) / (N * ROWS)
        W, V = W - lr0 * X.T @ (np.outer(d, V) * (1 - H * H)), V - lr1 * H.T @ d
    return np.mean((np.tanh(X @ W) @ V / N - y) ** 2)


@np.errstate(all="ignore")
def study(full=False):
    found, rng, n = Findings(), np.random.default_rng(0), 512 if full else 64
    X, y, start = rng.normal(size=(ROWS, N)) / 2, rng.normal(size=ROWS), rng.normal(size=ROWS)
    lr0, lr1 = np.geomspace(1.0, 3e3, n), np.geomspace(15.0, 150.0, n)
    aux = X, y, start, np.sqrt(lr0 / lr1[:, None]).ravel()
    problem = problems.landscape(network, np.zeros(ROWS + 1), vector=True, aux=aux)
    space = [{"lr": [lr], "start_x73": range(k * n, k * n + n)} for k, lr in enumerate(lr1)]
    frame = sweep(problem, space, optimizer="sgd", steps=300, progress=False).to_frame()
    loss = frame.train_loss.where(frame.state == "COMPLETE", np.inf).to_numpy().reshape(n, n)
    first, some = by_numpy(X, y, start, 0.0, 0.0), rng.integers(0, n, (60, 2))
    trained, theirs = loss < first, [by_numpy(X, y, start, lr0[j], lr1[i]) < first for i, j in some]
    found.at_least("of 60 points, those as in NumPy", 57, (trained[tuple(some.T)] == theirs).sum())
    edge = (trained != np.roll(trained, 1, 0)) | (trained != np.roll(trained, 1, 1))
    edge[0], edge[:, 0], sizes = False, False, 2 ** np.arange(int(np.log2(n)) - 1)
    boxes = [edge.reshape(n // s, s, -1, s).any(axis=(1, 3)).sum() for s in sizes]
    slope = -np.polyfit(np.log(sizes), np.log(boxes), 1)[0]
    found.at_least("dimension of the edge (1 if smooth; published 1.17 to 1.98)", 1.1, slope)

    @found.figure
    def draw(figure):
        axes = figure.subplots()
        axes.pcolormesh(lr0, lr1, np.where(trained, np.log10(loss), np.nan), cmap="cividis")
        axes.set(xscale="log", yscale="log", xlabel="lr of layer 0", ylabel="lr of layer 1")

    return found


if __name__ == "__main__":
    main(__file__)
