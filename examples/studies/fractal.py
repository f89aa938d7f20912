"""The boundary between trainable and not is fractal: a map of two learning rates.

A tanh network of width 8 with a learning rate a layer; their ratio is the size of u in the weights
start + sqrt(ratio) u. Sohl-Dickstein (arXiv:2402.06184) zoomed in: edges of dimension 1.17 to 1.98.
"""

import numpy as np

from fastopt import maths
from sweeps import problems, sweep
from sweeps.studies import Findings, main

N, ROWS = 8, 72  # inputs and hidden units; examples, as many as parameters
WINDOW = (61.0, 1.74), (38.2, 0.5)  # a learning rate at the edge, and decades to either side


def network(x, grad, aux):
    X, y, W, scale = aux[0], aux[1], aux[2].copy(), aux[3][int(x[-1] + 0.5)]
    W += np.where(np.arange(ROWS) < N * N, scale, 1.0) * x[:ROWS]
    V, H = W[N * N :], np.dot(X, W[: N * N].reshape(N, N))
    flat, grad[-1] = H.reshape(-1), 0.0
    for j in range(ROWS * N):
        flat[j] = maths.tanh(flat[j])
    error = np.dot(H, V) / N - y
    d = error * (2.0 / (N * ROWS))
    grad[N * N : ROWS] = np.dot(d, H)
    np.dot(X.T, scale * np.outer(d, V) * (1.0 - H * H), grad[: N * N].reshape(N, N))
    return np.dot(error, error) / ROWS


def by_numpy(X, y, start, lr0, lr1):
    W, V = start[:-N].reshape(N, N), start[-N:]
    for _ in range(300):
        d = 2 * ((H := np.tanh(X @ W)) @ V / N - y) / (N * ROWS)
        W, V = W - lr0 * X.T @ (np.outer(d, V) * (1 - H * H)), V - lr1 * H.T @ d
    return np.mean((np.tanh(X @ W) @ V / N - y) ** 2)


@np.errstate(all="ignore")
def study(full=False):
    found, rng, maps = Findings(), np.random.default_rng(0), []
    X, y, start = rng.normal(size=(ROWS, N)) / 2, rng.normal(size=ROWS), rng.normal(size=ROWS)
    first = by_numpy(X, y, start, 0.0, 0.0)
    for zoom, n in ({1: 512, 5: 128, 25: 128, 125: 128} if full else {1: 64, 5: 64}).items():
        lr0, lr1 = (c * 10 ** np.linspace(-w / zoom, w / zoom, n) for c, w in WINDOW)
        aux = X, y, start, np.sqrt(lr0 / lr1[:, None]).ravel()
        problem = problems.landscape(network, np.zeros(ROWS + 1), vector=True, aux=aux)
        space = [{"lr": [lr], "start_x73": range(k * n, k * n + n)} for k, lr in enumerate(lr1)]
        frame = sweep(problem, space, optimizer="sgd", steps=300, progress=False).to_frame()
        loss = frame.train_loss.where(frame.state == "COMPLETE", np.inf).to_numpy().reshape(n, n)
        good, some = loss < first, rng.integers(0, n, (60, 2))
        if zoom == 1:  # deeper, where all is chaos, no two programs agree
            same = [good[i, j] == (by_numpy(X, y, start, lr0[j], lr1[i]) < first) for i, j in some]
            found.at_least("of 60 points, those as in NumPy", 57, sum(same))
        edge = np.diff(good, axis=0, prepend=good[:1]) | np.diff(good, axis=1, prepend=good[:, :1])
        sizes = 2 ** np.arange(n.bit_length() - 2)
        boxes = [edge.reshape(n // s, s, -1, s).any(axis=(1, 3)).sum() for s in sizes]
        least, slope = (1.17 if zoom > 1 else 1.0), -np.median(np.diff(np.log2(boxes)))
        found.at_least(f"zoom {zoom}: dimension of the edge, a line's is 1", least, slope)
        maps.append((lr0, lr1, np.where(good, np.log10(loss), np.nan), zoom))

    @found.figure
    def draw(figure):
        for k, (lr0, lr1, colours, zoom) in enumerate(maps):
            axes = figure.add_subplot(len(maps) // 2, 2, k + 1)
            axes.pcolormesh(np.log10(lr0), np.log10(lr1), colours, cmap="cividis")
            axes.set(title=f"zoom {zoom}", xlabel="log10 lr of layer 0", ylabel="of layer 1")

    return found


if __name__ == "__main__":
    main(__file__)
