"""A small sweep to look at: diverged, failed and finished trials, targets and curves."""

import math

import numpy as np

from sweeps import Space, SweepResult

NAN = math.nan
COMPLETE, DIVERGED, PRUNED, FAILED = range(4)
LRS, BATCHES, SEEDS = [0.001, 0.01, 0.1, 1.0], [16, 64, 256], [0, 1]
SPACE = Space({"optimizer": ["sgd", "adam"], "lr": LRS, "batch_size": BATCHES, "seed": SEEDS})


def made(curves=True, mode="min"):
    """Build a grid in which the largest lr diverges, with numbers unlike in every cell."""
    ids = np.arange(len(SPACE))
    axes = SPACE.columns(ids)
    rng = np.random.default_rng(0)
    u = np.log10(axes["lr"]) + np.where(axes["optimizer"] == "sgd", 1.0, 2.0)
    loss = 0.01 * (1.0 + rng.random(len(ids))) * np.exp(3.0 * u * u)
    state = np.where(u + 0.01 * axes["seed"] > 1.0, DIVERGED, COMPLETE)
    state[(axes["lr"] == 0.001) & (axes["batch_size"] == 16)] = FAILED
    loss[state != COMPLETE] = NAN
    reached = (loss < 0.05) & (state == COMPLETE)
    steps = 163840.0 * loss / axes["batch_size"] + 9.0
    target = np.where(reached, steps, -1.0).astype(int)
    step = np.repeat(np.arange(0.0, 50.0, 10.0)[None], len(ids), 0)
    value = np.where(np.isnan(loss), 1.0, loss)[:, None] * (1.0 + np.exp(-step / 9.0))
    step[state == DIVERGED, 2:] = NAN
    columns = {"trial_id": ids, **axes, "state": state, "train_loss": loss}
    columns |= {"test_accuracy": 1.0 - loss, "steps_to_target": target}
    recorded = {"trial_id": ids, "step": step, "train_loss": value} if curves else None
    return SweepResult(columns, recorded, "train_loss", mode, {}, SPACE)
