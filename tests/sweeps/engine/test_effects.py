"""Settings without effect are refused, or told once by name; those that have one are not."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from fastopt import schedules
from fastopt.errors import SpecError, SweepWarning
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps import plan, problems, sweep, when, zipped
from sweeps.engine.columns import ALIASES, accepts

BOWL = problems.ellipse()
COSINE = schedules.warmup_cosine(warmup_steps=2, total_steps=5)


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,))


def checked(problem, space, **options):
    """Run no trial: what is refused is refused by ``plan`` as well."""
    return plan(problem, space, **{"steps": 5, "optimizer": "sgd", **options})


REFUSED = [
    ({"warmup_steps": [1, 2, 3]}, {}, "axis 'warmup_steps' means nothing to schedule constant"),
    ({"warmup_steps": [1]}, {"schedule": "cosine"}, "'warmup_steps' means nothing to schedule cos"),
    ({"step_size": [2, 3]}, {"schedule": "cosine"}, "axis 'step_size' means nothing to schedule"),
    ({"warmup_steps": [1, 2]}, {"schedule": COSINE}, "nothing to schedule warmup_cosine.warmup_st"),
    (
        {"momentum": [0.5], "beta1": [0.5, 0.9]},
        {"optimizer": "momentum"},
        "axis 'beta1' means nothing to optimizer momentum, whose momentum is set by 'momentum'",
    ),
    ({"lr": [0.1]}, {"optimizer": "momentum", "momentum": 0.5, "beta1": 0.9}, "^beta1=... means"),
    ({"beta2": [0.5, 0.9]}, {}, "axis 'beta2' means nothing to optimizer sgd"),
    (
        {"optimizer": ["sgd", "adam"], "beta1": [0.5, 0.9]},
        {},
        "'beta1' means nothing to opti.* sgd",
    ),
    (zipped({"lr": [0.1, 0.2], "power": [1.0, 2.0]}), {}, "axis 'power' means nothing to schedule"),
    ([{"lr": [0.1]}, {"power": [1.0, 2.0]}], {}, "axis 'power' means nothing to schedule constant"),
    ({"lr": [0.1]}, {"warmup_steps": 2}, "^warmup_steps=... means nothing to schedule constant"),
    ({"lr": [0.1]}, {"beta2": 0.9}, "beta2=... means nothing to optimizer sgd"),
]


@pytest.mark.parametrize(("space", "options", "message"), REFUSED, ids=str)
def test_what_no_trial_reads_is_refused(space, options, message):
    with pytest.raises(SpecError, match=message):
        checked(BOWL, space, **options)


TOLD = [
    ({"lr": [0.1, 0.2]}, {"lr": 0.5}, "^lr=... has no effect: the axis 'lr' sets it"),
    ({"seed": [1]}, {"seed": 3}, "^seed=... has no effect: the axis 'seed'"),
    ({"steps": [1, 2]}, {"steps": 9}, "^steps=... has no effect"),
    ({"optimizer": ["sgd"]}, {"optimizer": "sgd"}, "^optimizer=... has no effect"),
    ({"lr": [0.1]}, {"batch_size": 8}, "ellipse has no rows of data: batch_size=..."),
    ({"lr": [0.1]}, {"shuffle": "once"}, "ellipse has no rows of data: shuffle=..."),
    ({"patience": [2, 9]}, {"eval_every": 5}, "patience of 2 checks has no effect: .* than 1"),
    ({"clip_norm": [0.0, 1.0], "patience": [0]}, {"clip_norm": 2.0}, "^clip_norm=... has no"),
    (
        {"schedule": ["constant", "warmup_cosine"], "warmup_steps": [1, 2]},
        {},
        "axis 'warmup_steps' means nothing to schedule constant: .* each of its 2 values",
    ),
    (
        {"optimizer": ["momentum", "adam"], "momentum": when([0.5], optimizer="momentum"),
         "beta1": [0.5, 0.9]},
        {},
        "axis 'beta1' means nothing to optimizer momentum, whose momentum.* its 2 values",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("space", "options", "message"), TOLD, ids=str)
def test_what_some_trials_do_not_read_is_told_once(space, options, message):
    with pytest.warns(SweepWarning) as told:
        sweep(BOWL, space, **{"steps": 5, "progress": False, **options})
    (only,) = told
    assert only.filename == __file__
    with pytest.warns(SweepWarning, match=message):
        warnings.warn_explicit(only.message, None, __file__, 1)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"batch_size": [16, 112, 500, 1000], "lr": [0.1, 0.2]},
            "axis 'batch_size': 112 and 500 come to the same trials of iris, of 112 rows",
        ),
        (
            {"shuffle": ["epoch", "once"], "batch_size": [112], "lr": [0.1]},
            "axis 'shuffle': 'epoch' and 'once' come to the same trials of iris",
        ),
    ],
)
def test_values_that_come_to_the_same_trial_are_told_once(iris, space, message):
    with pytest.warns(SweepWarning) as told:
        result = sweep(iris, space, optimizer="sgd", epochs=1, progress=False)
    (only,) = told
    assert message in str(only.message)
    losses = result.to_frame()
    assert losses.train_loss.nunique() == len(losses) / 2


HAVE_EFFECT = [
    ({"lr": [0.1, 0.2], "seed": [0, 1]}, {"seed_mode": "independent"}),
    ({"schedule": ["constant", "warmup_cosine"], "lr": [0.1]}, {"warmup_steps": 2}),
    ({"schedule": [COSINE, "warmup_cosine"], "warmup_steps": when([1], schedule=["warmup_cosine"])},
     {}),
    ({"optimizer": ["sgd", "schedule_free_sgd"], "lr": [0.1]}, {"warmup_steps": 2}),
    ({"optimizer": ["schedule_free_sgd"], "warmup_steps": [1, 2]}, {}),
    ({"optimizer": ["momentum", "adam"], "beta1": [0.5, 0.9]}, {}),
    ({"optimizer": ["momentum", "adam"], "momentum": when([0.5], optimizer="momentum")},
     {"beta1": 0.5}),
    ([{"lr": [0.1]}, {"momentum": [0.5], "optimizer": ["momentum"]}], {"lr": 0.2}),
    ({"lr": [0.1, 0.2]}, {"seed": 0, "clip_norm": None, "schedule": "constant"}),
    ({"weight_decay": [0.0, 0.1], "lr": [0.1]}, {"maximize": True}),
]  # fmt: skip


@pytest.mark.parametrize(("space", "options"), HAVE_EFFECT, ids=str)
def test_nothing_is_told_of_what_has_an_effect(space, options):
    sweep(BOWL, space, **{"steps": 5, "progress": False, **options})


VALUES = {name: kind.default for row in SCHEDULES.values() for name, kind in row.params.items()}
VALUES |= {"gamma": 0.5, "total_steps": 30}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_parameters_of_schedules_follow_their_table(schedule):
    """Of every schedule and parameter: an axis or keyword is read if the table has it."""
    own = SCHEDULES[schedule].params
    for name in VALUES:
        needed = [p for p, kind in own.items() if math.isnan(kind.default) and p != name]
        # In the order of the table they grow, as milestones must, and total_steps is the last.
        rest = {
            p: 0.5 if p == "gamma" else 30 if p == "total_steps" else 2 + k
            for k, p in enumerate(needed)
        }
        value = 5 if math.isnan(VALUES[name]) else VALUES[name]
        for space, options in (({name: [value]}, {}), ({"seed": [0]}, {name: value})):
            if name in own:
                checked(BOWL, space, schedule=schedule, steps=50, **rest, **options)
            else:
                with pytest.raises(
                    SpecError, match=f"{name}.* means nothing to schedule {schedule}"
                ):
                    checked(BOWL, space, schedule=schedule, steps=50, **rest, **options)


@pytest.mark.parametrize("rule", RULES)
def test_hyperparameters_follow_their_table(rule):
    known = {*ALIASES, *(h for r in RULES.values() for h in r.hyper)}
    parameters = {p for row in SCHEDULES.values() for p in row.params}
    for name in sorted(known - parameters):
        kinds = RULES[rule].hyper
        key = name if name in kinds else ALIASES.get(name, name)
        default = kinds[key].default if key in kinds else 0.5
        for space, options in (({name: [default]}, {}), ({"seed": [0]}, {name: default})):
            if accepts(RULES[rule], name):
                checked(BOWL, space, optimizer=rule, **options)
            else:
                with pytest.raises(SpecError, match=f"means nothing to optimizer {rule}"):
                    checked(BOWL, space, optimizer=rule, **options)


def test_checking_a_large_space_takes_no_time():
    space = {"lr": np.geomspace(1e-4, 1, 2000), "seed": range(10**12), "weight_decay": [0.0, 0.1]}
    assert checked(BOWL, space).n_trials == 4 * 10**15
