"""Networks of a problem once more, by torch: losses and gradients in float64."""

import itertools

import numpy as np
import torch

from fastopt.compile import kernel
from fastopt.machine.calls import raw, raw_rows
from sweeps import sweep
from sweeps.engine.callees import functions_of
from sweeps.problems.noise import draw_masks
from tests.helpers.compiled import call_template

SEED = np.uint64(2**63 + 5)
f = torch.nn.functional
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": f.gelu, "silu": f.silu}


def check_trainings(result, name, off, problem, how):
    """Check that each trial is another training, and without the part the plain problem's."""
    frame = result.to_frame()
    assert frame.test_loss.nunique() == len(frame)
    plain = sweep(problem, {"lr": [0.01, 0.1], "seed": [0, 1]}, progress=False, **how)
    mine = frame.trial_id[frame[name] == off].tolist()
    np.testing.assert_array_equal(result.trials_weights(mine), plain.trials_weights(range(4)))


def masks_of(n, rate, dtype, seed=SEED, step=1):
    """Masks of ``n`` hidden units, as they lie in the scratch of a network."""
    masks = np.empty(-(-n // 4) * 4, dtype)
    kernel(call_template, draw_masks)(masks, float(rate), np.uint64(seed), step)
    return masks[:n]


def loss_and_grad(problem, theta, step):
    """By the function that trials call, with no more scratch than it asks for."""
    functions, grad = functions_of(problem), np.full_like(theta, np.nan)
    size = problem.work_per_row * len(problem.X)
    work = np.full(size + 64, np.nan)
    given = raw(theta), raw_rows(problem.X), raw_rows(problem.y), functions.words
    loss = functions.loss(*given, raw(grad), raw(work[:size]), SEED, step)
    assert np.isnan(work[size:]).all()
    return loss, grad


def torchs(problem, theta, X, masks=None):
    """Loss and gradient by torch, with given masks: those of all hidden layers, one by one."""
    flat = torch.tensor(theta, requires_grad=True)
    h, sizes, low = torch.tensor(X), problem.aux[0].tolist(), 0
    units = sum(sizes[1:-1])
    masks = np.ones(len(X) * units) if masks is None else masks
    norms = flat[len(flat) - 2 * units :]
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        W, b = flat[low : low + n * m].reshape(n, m), flat[low + n * m : low + (n + 1) * m]
        z, low = h @ W + b, low + (n + 1) * m
        if k < len(sizes) - 2:
            if problem.axes["layer_norm"]:
                z = f.layer_norm(z, (m,), norms[:m], norms[m : 2 * m])
                norms = norms[2 * m :]
            mask, masks = masks[: z.numel()], masks[z.numel() :]
            z = ACTIVATIONS[problem.axes["activation"]](z) * torch.tensor(mask).reshape(z.shape)
            z = z + h if problem.axes["residual"] and k > 0 and n == m else z
        h = z
    loss = f.mse_loss(h, torch.tensor(problem.y))
    loss.backward()
    return loss.item(), flat.grad.numpy()
