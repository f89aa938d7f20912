"""S2. Adam step by step: every internal of five steps on a 2 x 2 weight with fixed gradients.

A linear function has the same gradient everywhere, so its trace shows what Adam does with given
gradients: moments, corrected moments, denominators, weights; with L2 decay and with fast betas.
"""

import numpy as np

from sweeps import problems, trace
from sweeps.studies import Findings, main

SLOTS = ("exp_avg", "exp_avg_sq", "m_hat", "v_hat", "w")


def plane(w11, w12, w21, w22, aux):
    a, b, c, d = aux[0][0], aux[0][1], aux[0][2], aux[0][3]
    return a * w11 + b * w12 + c * w21 + d * w22, (a, b, c, d)


def by_numpy(w, g, decay, beta1, beta2):
    m, v, rows = np.zeros(4), np.zeros(4), []
    for t in range(1, 6):
        d = g + decay * w
        m, v = beta1 * m + (1 - beta1) * d, beta2 * v + (1 - beta2) * d * d
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        w = w - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
        rows.append((m, v, m_hat, v_hat, w))
    return np.array(rows)


def study(full=False):
    found, draws, frames = Findings(), np.random.RandomState(42), {}
    w, g = draws.randn(4), draws.randn(4)
    problem = problems.landscape(plane, w, aux=(g,))
    for decay, beta1, beta2 in ((0.0, 0.9, 0.999), (0.01, 0.9, 0.999), (0.0, 0.5, 0.5)):
        how = {"lr": 0.01, "weight_decay": decay, "beta1": beta1, "beta2": beta2}
        frame = trace(problem, "adam", steps=5, **how)
        expected, name = by_numpy(w, g, decay, beta1, beta2), f"betas {beta1}, {beta2}, L2 {decay}"
        for k, slot in enumerate(SLOTS):
            columns = [f"{slot}_w{n}".replace("w_", "") for n in (11, 12, 21, 22)]
            error = np.abs(frame[columns].to_numpy()[1:] - expected[:, k]).max()
            found.check(f"{name}: {slot} against NumPy", 0.0, error, 1e-15)
        found.check(f"{name}: first step is lr", 0.01, frame.update_w11[1], 1e-9)
        frames[name] = frame.assign(denominator_w11=0.01 / frame.effective_lr_w11)
        found.show(f"w11, {name}", frames[name].filter(regex="w11|step"))

    @found.figure
    def draw(figure):
        shown = {"exp_avg_w11": "m", "v_hat_w11": "v corrected", "w11": "W"}
        for ax, (column, title) in zip(figure.subplots(1, 3), shown.items()):
            for k, (name, frame) in enumerate(frames.items()):
                ax.plot(frame.step, frame[column], "o-", lw=5 - 2 * k, ms=9 - 2 * k, label=name)
            ax.set(xlabel="step", title=f"{title}, first weight")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)

    return found


if __name__ == "__main__":
    main(__file__)
