"""Settings without effect are refused, or told once by name; those that have one are not."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from fastopt import schedules
from fastopt.errors import SpecError, SweepWarning
from fastopt.rules import RULES
from fastopt.rules.base import Flag, Real, initial_value
from fastopt.schedules import SCHEDULES
from sweeps import estimate, problems, sweep, when, zipped
from sweeps.engine.columns import ALIASES, accepts
from sweeps.engine.unread import IDLE

BOWL = problems.ellipse()
COSINE = schedules.warmup_cosine(warmup_steps=2, total_steps=5)


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,))


def checked(problem, space, **options):
    """Run no trial: what is refused is refused by ``plan`` as well."""
    return estimate(problem, space, **{"steps": 5, "optimizer": "sgd", **options})


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
    ({"seed": [1], "lr": [0.1]}, {"seed": 3}, "^seed=... has no effect: the axis 'seed'"),
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
            "axis 'shuffle' means nothing to trials whose batches are all 112 rows",
        ),
        (
            {"step_size": [50, 60], "lr": [0.1]},
            "axis 'step_size' means nothing to schedule step where its factor is 1 at every step",
        ),
    ],
)
def test_values_that_come_to_the_same_trial_are_told_once(iris, space, message):
    kind = "step" if "step_size" in space else "constant"
    with pytest.warns(SweepWarning) as told:
        result = sweep(iris, space, optimizer="sgd", epochs=1, schedule=kind, progress=False)
    (only,) = told
    assert message in str(only.message)
    losses = result.to_frame()
    assert losses.train_loss.nunique() == len(losses) / 2


HAVE_EFFECT = [
    ({"lr": [0.1, 0.2], "seed": [0]}, {"seed": 0}),
    ({"lr": [0.1]}, {"eval_every": 2, "curves": True}),
    ({"lr": [0.1]}, {"eval_every": 1, "patience": 2}),
    ({"nesterov": [False, True], "momentum": [0.5]}, {"optimizer": "momentum"}),
    ({"nesterov": [False, True]}, {"optimizer": "momentum", "momentum": 0.0, "dampening": 0.5}),
    ({"weight_decay": [0.1, 0.2]}, {"decoupled": True}),
    ({"step_size": [2, 3]}, {"schedule": "step", "gamma": 0.5}),
    ({"factor": [0.1, 0.5]}, {"total_iters": 2}),
    ({"lr": [0.1]}, {"diverge_above": 1e6}),
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


def square(theta, X, y, aux, grad):
    grad[0] = theta[0] - X.mean()
    return 0.5 * (theta[0] - X.mean()) ** 2


ROWS = np.linspace(1.0, 2.0, 8).reshape(8, 1)
ZERO = problems.custom(square, np.zeros(1), ROWS, np.ones(8))
ONE = problems.custom(square, np.ones(1), ROWS, np.ones(8))
NOISY = problems.noisy_quadratic()
HALF, WHOLE = {"batch_size": 4, "epochs": 2}, {"batch_size": 8, "epochs": 2}
STILL = {"optimizer": "momentum", "momentum": 0.0}

OFF = [
    (BOWL, {"seed": [0, 1]}, {}, "axis 'seed' means nothing to trials without chance"),
    (BOWL, {}, {"seed": 3}, "seed=... has no effect: .* trials without chance"),
    (BOWL, {}, {"seed_mode": "independent"}, "seed_mode=... has no effect: .* without chance"),
    (BOWL, {}, {"eval_every": 2}, "eval_every=... has no effect: ellipse is looked at after every"),
    (BOWL, {"nesterov": [False, True]}, STILL, "axis 'nesterov' means nothing to .* momentum=0.0"),
    (BOWL, {"nesterov": [False, True], "momentum": [0.0, 0.5]}, {"optimizer": "momentum"},
     "axis 'nesterov' means nothing to trials with momentum=0.0"),
    (BOWL, {}, {**STILL, "nesterov": True}, "nesterov=... has no effect: .* with momentum=0.0"),
    (BOWL, {}, {"optimizer": "momentum", "form": "ema", "dampening": 0.5},
     "dampening=... has no effect: .* trials with form='ema'"),
    (BOWL, {}, {"decoupled": True}, "decoupled=... has no effect: .* with weight_decay=0.0"),
    (BOWL, {}, {"optimizer": "nadam", "beta1": 0.0, "momentum_decay": 0.1}, "^momentum_decay=..."),
    (BOWL, {"t0": [1, 2]}, {"optimizer": "asgd"}, "axis 't0' means nothing to asgd"),
    (BOWL, {"gamma": [0.1, 0.5]}, {"schedule": "multi_step", "milestone1": 5},
     "axis 'gamma' means nothing to schedule multi_step where its factor is 1 at every step"),
    (BOWL, {}, {"factor": 0.5}, "factor=... has no effect: .* schedule constant where its factor"),
    (BOWL, {"schedule": ["constant", COSINE, "exponential"]}, {"gamma": 1.0},
     "'constant' and 'exponential' come to the same trials"),
    (BOWL, {"period": [3, 7, 9]}, {"schedule": "cosine_restarts", "final": 1.0}, "axis 'period'"),
    (BOWL, {"final": [0.1, 0.2]}, {"schedule": "wsd", "decay_steps": 0, "warmup_steps": 0},
     "axis 'final' means nothing to schedule wsd"),
    (BOWL, {}, {"diverge_above": 1e-9}, "loss at the start of all 1 trials is above diverge_ab"),
    (ZERO, {"seed": [0, 1]}, WHOLE, "axis 'seed' means nothing to trials without chance"),
    (ONE, {"seed": [0, 1]}, {**HALF, "shuffle": "none"}, "axis 'seed' means nothing to trials"),
    (ZERO, {"init_scale": [1.0, 2.0]}, HALF, "axis 'init_scale' means nothing to .* from zeros"),
    (ZERO, {}, {**HALF, "init_scale": 2.0}, "init_scale=... has no effect: .* start from zeros"),
    (ONE, {}, {**WHOLE, "shuffle": "once"}, "shuffle=... has no effect: .* are all 8 rows"),
    (ONE, {}, {**HALF, "batch_size": 9}, "batch_size 9 is more than the 8 rows of square"),
    (ONE, {"batch_size": [4, 16]}, HALF, "batch_size 16 is more than the 8 rows of square"),
    (ONE, {}, {**HALF, "diverge_above": 1e-9}, "start of all 1 trials is above diverge_above"),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "space", "options", "message"), OFF, ids=str)
def test_what_another_setting_switches_off_is_told_by_name(problem, space, options, message):
    length = {} if "epochs" in options else {"steps": 5}
    if set(options) & set(space):
        options = {name: value for name, value in options.items() if name not in space}
    with pytest.warns(SweepWarning, match=message) as told:
        sweep(
            problem, space or {"lr": [0.1]},
            **{"optimizer": "sgd", "progress": False, **length, **options},
        )  # fmt: skip
    assert len(told) == 1


@pytest.mark.parametrize(
    ("problem", "space", "options"),
    [
        (NOISY, {"seed": [0, 1]}, {"seed_mode": "independent", "steps": 5}),
        (ONE, {"seed": [0, 1], "init_scale": [0.5, 1.0]}, HALF),
        (ONE, {"shuffle": ["epoch", "none"]}, HALF),
        (ONE, {"batch_size": [4, 8]}, {"epochs": 1}),
    ],
)
def test_chance_that_counts_is_not_told_of(problem, space, options):
    sweep(problem, space, optimizer="sgd", progress=False, **options)


def test_targets_that_no_accuracy_can_reach(iris):
    how = {"optimizer": "sgd", "epochs": 1, "progress": False}
    ranked = {"metric": "train_accuracy", "mode": "max"}
    with pytest.warns(SweepWarning, match="target=95 is never reached: accuracies are 0 to 1"):
        sweep(iris, {"lr": [0.1]}, target=95, **ranked, **how)
    for problem in (ONE, problems.diabetes(hidden=())):
        with pytest.raises(SpecError, match="metric 'train_accuracy' needs classes"):
            sweep(problem, {"lr": [0.1]}, target=0.5, **ranked, **how)


def path_of(rule, given):
    """Step a rule in plain Python over fixed gradients; return all that a trial could answer."""
    try:
        with np.errstate(all="ignore"):
            return walked(rule, given)
    except (ArithmeticError, ValueError):  # of which compiled code has an answer, too
        return np.array([repr(given)])


def walked(rule, given):
    rng = np.random.default_rng(0)
    h = rule.pack(given)
    x = [tuple(float(initial_value(s, h, p)) for s in rule.starts) for p in rng.normal(size=3)]
    clock, found = rule.clock0(h), []
    for gradient in rng.normal(size=(12, 3)):
        clock, c = rule.tick(h, clock)
        if rule.measure is not None:
            sums = [rule.measure(c, g, e) for g, e in zip(gradient, x)]
            c = rule.trust(c, tuple(map(sum, zip(*sums))), len(x))
        x = [rule.update(c, g, e) for g, e in zip(gradient, x)]
        found.append([rule.answer(h, e) if rule.answer else e[0] for e in x])
    return np.array(found)


def values_of(kind):
    if isinstance(kind, Real):
        return [v for v in (0.0, 0.25, 0.75, 2.0) if kind.low <= v < kind.high]
    return [False, True] if isinstance(kind, Flag) else list(kind.names)


def shown_by(rule):
    """Yield what a rule shows that it does not read: setting, and the one value that is why."""
    given = {
        name: values_of(kind)[1] if isinstance(kind, Real) and kind.default == 0.0 else kind.default
        for name, kind in rule.hyper.items()
    }

    def reads(name, at):
        paths = [path_of(rule, {**at, name: v}).tobytes() for v in values_of(rule.hyper[name])]
        return len(set(paths)) > 1

    for other, kind in rule.hyper.items():
        # Where nothing moves, nothing is read: that is seen without being told.
        dead = other == "lr" or (rule.name, other) in DEAD
        for value in () if dead else values_of(kind):
            at = {**given, other: value}
            for name in given:
                if name != other and reads(name, given) and not reads(name, at):
                    yield name, other, value


DEAD = {("lars", "trust_coefficient"), ("adadelta", "eps"), ("rprop", "step_size_max"),
        ("rprop", "step_size_min"), ("radam", "beta2"), ("adopt", "eps"), ("ademamix", "beta3"),
        ("ademamix", "beta1")}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_what_rules_do_not_read_is_in_the_table(rule):
    """Both ways: what the table says is so, and what stepping a rule shows is in the table."""
    rule = RULES[rule]
    said = [
        idle for idle in IDLE
        if {idle.name, *idle.where} <= set(rule.hyper) and rule.name in (idle.rules or RULES)
    ]  # fmt: skip
    for idle in said:
        for rest in ({}, {"weight_decay": 0.5} if "weight_decay" in rule.hyper else {}):
            given = {**rest, **idle.where}
            paths = [
                path_of(rule, {**given, idle.name: v}) for v in values_of(rule.hyper[idle.name])
            ]
            for path in paths[1:]:
                np.testing.assert_array_equal(path, paths[0])
    for name, other, value in shown_by(rule):
        assert any(i.name == name and i.where.get(other) == value for i in said), (
            name,
            other,
            value,
        )


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
