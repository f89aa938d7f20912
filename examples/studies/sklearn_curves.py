"""scikit-learn's MLP training curves, loss by loss: same weights, same batches, same L2 penalty.

Iris as in its example, digits in batches of a third. Its Adam adds epsilon elsewhere: both 1e-30.
"""

import dataclasses
import warnings

import numpy as np
from sklearn import datasets, neural_network, preprocessing, utils

from fastopt.compile import jitable
from sweeps import problems, sweep
from sweeps.studies import Findings, main

DATA = {"iris": (datasets.load_iris, 400, 1), "digits": (datasets.load_digits, 15, 3)}
RUNS = {"sgd": (0.2, 0.0), "momentum": (0.2, 0.9), "nesterov": (0.2, 0.9), "adam": (0.01, 0.9)}
PUBLISHED = {"sgd": "0.096950", "momentum": "0.049530", "nesterov": "0.049540"}
plain = problems.iris().loss_and_grad  # that of every network with this loss


@jitable
def penalised(theta, X, y, aux, grad, work):
    sizes, loss, first, share = aux[0], plain(theta, X, y, aux, grad, work), 0, 1e-4 / len(y)
    for layer in range(sizes.size - 1):
        for j in range(first, first + sizes[layer] * sizes[layer + 1]):
            loss += 0.5 * share * theta[j] * theta[j]
            grad[j] += share * theta[j]
        first += (sizes[layer] + 1) * sizes[layer + 1]  # biases are not penalised
    return loss


def study(full=False):
    warnings.filterwarnings("ignore", "Stochastic Optimizer")
    found, curves = Findings(), {}
    for data, (load, epochs, parts) in DATA.items():
        X, y = load(return_X_y=True)
        X, batch, rows, order = preprocessing.minmax_scale(X), len(y) // parts, range(len(y)), []
        net = neural_network.MLPClassifier(batch_size=batch, random_state=0, epsilon=1e-30)
        net.set_params(solver="sgd", learning_rate_init=1e-300, max_iter=1).fit(X, y)
        theta0 = [a.ravel() for pair in zip(net.coefs_, net.intercepts_) for a in pair]
        draws = np.random.RandomState(0)
        draws.uniform(size=sum(map(len, theta0)))  # as it drew the weights; 1e-300 moved nothing
        for _ in range(epochs):
            order += (rows := [*utils.shuffle(rows, random_state=draws)])
        base = problems.mlp(X[order], y[order], hidden=(100,), standardize=False, dtype="float64")
        own = dataclasses.replace(base, loss_and_grad=penalised, theta0=np.concatenate(theta0))
        how = {"batch_size": batch, "shuffle": "none", "eval_every": parts, "progress": False}
        for run, (lr, momentum) in RUNS.items():
            net.set_params(solver="adam" if run == "adam" else "sgd", learning_rate_init=lr)
            net.set_params(nesterovs_momentum=run == "nesterov", momentum=momentum, max_iter=epochs)
            theirs = np.array(net.fit(X, y).loss_curve_)
            how |= {"steps": parts * len(theirs), "curves": True, "lr": lr, "beta1": momentum}
            more = {"eps": [1e-30]} if run == "adam" else {"nesterov": [run == "nesterov"]}
            result = sweep(own, more, optimizer="adam" if run == "adam" else "momentum", **how)
            ours = curves[data, run] = result.curves().train_loss.to_numpy()
            found.check(f"{data}, {run}: every loss", 0.0, np.abs(ours - theirs).max(), 1e-9)
            if data == "iris" and run in PUBLISHED:
                found.check(f"{data}, {run}: the last", PUBLISHED[run], ours[-1])

    @found.figure
    def draw(figure):
        for axes, data in zip(figure.subplots(1, 2), DATA):
            for run in RUNS:
                axes.semilogy(curves[data, run], label=run)
            axes.set(title=data, xlabel="epoch", ylabel="loss"), axes.legend()

    return found


if __name__ == "__main__":
    main(__file__)
