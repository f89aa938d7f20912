"""Landscapes: what a user's function may look like, and the library of test functions."""

import itertools
import math

import numpy as np
import pytest

from fastopt import maths
from fastopt.errors import ArrayError, ArrayTypeError, SpecError
from sweeps import problems, sweep
from sweeps.problems import FUNCTIONS, landscape

SEVERAL = {
    "rosenbrock-5": problems.rosenbrock(5),
    "rastrigin-1": problems.rastrigin(1),
    "ackley-3": problems.ackley(3),
    "styblinski_tang-4": problems.styblinski_tang(4),
    "random_quadratic-1": problems.random_quadratic(1),
    "noisy_quadratic-loud": problems.noisy_quadratic(condition=3.0, noise=5.0),
}
LIBRARY = {name: make() for name, make in FUNCTIONS.items()} | SEVERAL
every_function = pytest.mark.parametrize("problem", LIBRARY.values(), ids=LIBRARY)


def points_of(problem, count=5, spread=2.0):
    rng = np.random.default_rng(0)
    return problem.start + spread * rng.normal(size=(count, problem.dim))


def differences(problem, point, h=1e-6, **at):
    """Gradient by five-point differences, error about 1e-10 of the function's size."""
    found = []
    for d in range(problem.dim):
        ends = []
        for k in (-2, -1, 1, 2):
            moved = point.copy()
            moved[d] += k * h * max(1.0, abs(point[d]))
            ends.append(problem(*moved, **at)[0])
        width = 12.0 * h * max(1.0, abs(point[d]))
        found.append((ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]) / width)
    return found


@every_function
def test_gradients_are_those_of_the_values(problem):
    for k, point in enumerate(points_of(problem)):
        value, grad = problem(*point, t=float(k), seed=k)
        # 1e-16 of the value over a width of 1e-6; ravine is differenced itself, with 1e-5.
        close = {"rtol": 1e-6, "atol": 1e-8 * (1.0 + abs(value))}
        np.testing.assert_allclose(grad, differences(problem, point, t=float(k), seed=k), **close)


QUIET = {name: p for name, p in LIBRARY.items() if "noisy" not in name}


@pytest.mark.parametrize("problem", QUIET.values(), ids=QUIET)
def test_optima_are_minima(problem):
    for optimum in problem.optima:
        value, grad = problem(*optimum)
        np.testing.assert_allclose(grad, 0.0, atol=1e-10)
        for point in optimum + 1e-2 * np.random.default_rng(1).normal(size=(20, problem.dim)):
            assert problem(*point)[0] > value
        assert problem(*problem.start)[0] >= value


MINIMA = {
    "rosenbrock": 0.0,
    "ellipse": 0.0,
    "double_well": -26.413790,
    "beale": 0.0,
    "himmelblau": 0.0,
    "rastrigin": 0.0,
    "ackley": 0.0,
    "styblinski_tang": 2 * -39.16616570377142,
    "ravine": 0.0,
    "random_quadratic": 0.0,
}


@pytest.mark.parametrize("name", MINIMA)
def test_minima_have_the_published_values(name):
    for optimum in LIBRARY[name].optima:
        assert LIBRARY[name](*optimum)[0] == pytest.approx(MINIMA[name], abs=1e-6)


def test_formulas_are_the_published_ones():
    """Written with NumPy from the papers, at a point where no term vanishes."""
    x, y = 0.7, -1.3
    both, pi = np.array([x, y]), math.pi
    expected = {
        "rosenbrock": 100 * (y - x**2) ** 2 + (1 - x) ** 2,
        "ellipse": 0.5 * x**2 + 5 * y**2,
        "beale": (1.5 - x + x * y) ** 2
        + (2.25 - x + x * y**2) ** 2
        + (2.625 - x + x * y**3) ** 2,
        "himmelblau": (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        "rastrigin": 20 + np.sum(both**2 - 10 * np.cos(2 * pi * both)),
        "ackley": 20 + math.e - 20 * np.exp(-0.2 * np.sqrt(np.mean(both**2)))
        - np.exp(np.mean(np.cos(2 * pi * both))),
        "styblinski_tang": 0.5 * np.sum(both**4 - 16 * both**2 + 5 * both),
        "ravine": 1 - np.exp(-0.5 * (2 * y) ** 2) * np.exp(-0.5 * ((x - 0.7) / 2) ** 2),
    }  # fmt: skip
    for name, value in expected.items():
        assert LIBRARY[name](x, y)[0] == pytest.approx(value, rel=1e-14), name
    assert LIBRARY["double_well"](x)[0] == pytest.approx(0.1 * x**4 - 3 * x**2 + x, rel=1e-14)
    five = np.array([0.5, -1.0, 2.0, 1.5, -0.5])
    chain = np.sum(100 * (five[1:] - five[:-1] ** 2) ** 2 + (1 - five[:-1]) ** 2)
    assert LIBRARY["rosenbrock-5"](*five)[0] == pytest.approx(chain, rel=1e-14)


def test_a_random_quadratic_has_the_spectrum_asked_for():
    problem = problems.random_quadratic(6, condition=50.0, seed=3)
    columns = [problem(*(problem.optima[0] + e))[1] for e in np.eye(6)]
    np.testing.assert_allclose(np.linalg.eigvalsh(columns), np.geomspace(1, 50, 6), rtol=1e-10)
    other = problems.random_quadratic(6, condition=50.0, seed=4)
    assert not np.allclose(other.aux[0], problem.aux[0])
    # Of another size and seed, but the same function: nothing new to compile.
    assert problems.random_quadratic(3).value_and_grad is problem.value_and_grad


def test_noise_is_that_of_the_seed_and_the_step():
    problem = problems.noisy_quadratic(condition=4.0, noise=0.5)
    at = [problem(0.0, 0.0, t=t, seed=s)[1] for t, s in itertools.product(range(500), range(4))]
    shifts = np.array(at) / [0.5, 2.0]
    assert len(np.unique(shifts[:, 0])) == len(shifts)
    # 2 000 normals: mean within 4 / sqrt(2 000), variance within 4 sqrt(2 / 2 000).
    assert np.abs(shifts.mean(axis=0)).max() < 0.09
    assert np.abs(np.cov(shifts.T) - np.eye(2)).max() < 0.13
    assert problem(0.0, 0.0, t=7.0, seed=2) == problem(0.0, 0.0, t=7.0, seed=2)


def saddle(x, y):
    return x * y, (y, x)


@pytest.mark.parametrize(
    ("wrong", "component", "given", "found"),
    [
        (lambda x, y: (x * y, (x, x)), "x", "2.0", "1"),
        (lambda x, y: (x * y, (y, y)), "y", "1.0", "2"),
        (lambda x, y: (x * y, (y, -x)), "y", "-2.0", "2"),
        (lambda x, y: (x * y, (math.nan, x)), "x", "nan", "1"),
    ],
)
def test_a_wrong_gradient_is_reported_with_both_values(wrong, component, given, found):
    message = rf"at \(2.0, 1.0\): its component {component} is {given}, .* say {found}"
    with pytest.raises(SpecError, match=message):
        landscape(wrong, start=(2.0, 1.0))


def test_a_gradient_wrong_away_from_the_start_is_reported_too():
    with pytest.raises(SpecError, match="component y"):
        landscape(lambda x, y: (x * x + y**3, (2 * x, 0.0 * y)), start=(0.0, 0.0))


def test_a_wrong_gradient_of_an_array_is_reported_with_its_coordinate():
    def f(x, grad):
        grad[:] = 2.0 * x
        grad[3] += 0.5
        return np.sum(x * x)

    with pytest.raises(SpecError, match=r"component x4 is 0\.5.*say "):
        landscape(f, start=np.zeros(5), vector=True)


def test_points_without_a_value_are_not_checked():
    problem = landscape(lambda x: (math.log(x), (1 / x,)), start=(0.01,))
    assert problem(1.0) == (0.0, (1.0,))


ACCEPTED = {
    "value and gradient": (saddle, {}),
    "value alone": (lambda x, y: x * y, {}),
    "step number": (lambda x, y, t: (x * y + t, (y, x)), {"timed": True}),
    "seed": (lambda x, y, seed: x * y, {"seeded": True}),
    "step, seed and arrays": (
        lambda x, y, t, seed, aux: (aux[0][0] * x * y + t, (aux[0][0] * y, aux[0][0] * x)),
        {"timed": True, "seeded": True, "aux": (np.ones(1),)},
    ),
    "any number": (lambda *x: x[0] * x[1], {}),
    "array alone": (lambda x: x[0] * x[1], {"vector": True}),
    "array and step": (lambda x, t: x[0] * x[1] + t, {"vector": True, "timed": True}),
}


@pytest.mark.parametrize(("f", "how"), ACCEPTED.values(), ids=ACCEPTED)
def test_functions_of_every_form(f, how):
    problem = landscape(f, start=(3.0, -2.0), name="form", **how)
    value, grad = problem(3.0, -2.0)
    assert value == pytest.approx(-6.0, rel=1e-15)
    assert grad == pytest.approx((-2.0, 3.0), rel=1e-9)
    result = sweep(problem, {}, optimizer="sgd", lr=0.5, steps=1, progress=False).to_frame()
    names = ["x", "y"] if problem.names == ("x", "y") else ["x1", "x2"]
    assert result[names].iloc[0].tolist() == pytest.approx([4.0, -3.5], rel=1e-9)


def wrong_names(lr, y):
    return lr * y


REFUSED = [
    ({"f": 3}, SpecError, "plain function"),
    ({"f": saddle, "start": (1.0, 2.0, 3.0)}, SpecError, r"takes 2 arguments \(x, y\).*3 coord"),
    ({"f": lambda x, y, t: x, "start": (1, 2)}, SpecError, "timed=True"),
    ({"f": saddle, "timed": True}, SpecError, "those of timed"),
    (
        {"f": lambda *x: 0.0 * x[0], "start": [], "name": "e"},
        ArrayError,
        "one finite number or more",
    ),
    ({"f": saddle, "start": (math.nan, 1.0)}, ArrayError, "finite"),
    ({"f": saddle, "start": ("a", "b")}, ArrayTypeError, "must be numbers"),
    ({"f": saddle, "start": np.ones((2, 2))}, ArrayError, "one point"),
    ({"f": saddle, "optimum": (1.0,)}, ArrayError, "2 coordinates of start"),
    ({"f": saddle, "bounds": (1.0, -1.0)}, ArrayError, "low <= high"),
    ({"f": saddle, "bounds": (-1.0, 1.0)}, ArrayError, "outside of bounds"),
    ({"f": saddle, "bounds": 3.0}, ArrayError, "bounds must be"),
    ({"f": saddle, "dtype": "float16"}, ArrayTypeError, "float32 or float64"),
    ({"f": saddle, "aux": np.ones(3)}, ArrayTypeError, "tuple of NumPy arrays"),
    ({"f": saddle, "step": 0.0}, SpecError, "step must be"),
    ({"f": lambda x, y: (x, [y, x])}, SpecError, "gradient as a tuple"),
    ({"f": lambda x, y: (x, (1.0,))}, SpecError, "one derivative for each of the 2"),
    ({"f": lambda x, y: "no"}, SpecError, "one number"),
    ({"f": lambda x, y: x * y, "dtype": "float32"}, SpecError, "central differences in float32"),
    ({"f": lambda x, grad, z: 0.0, "vector": True}, SpecError, "x and grad, or x alone"),
    ({"f": lambda a: a, "start": np.zeros(65), "name": "f"}, SpecError, "vector=True"),
    ({"f": wrong_names}, SpecError, "'lr' is taken"),
]


@pytest.mark.parametrize(("how", "error", "message"), REFUSED)
def test_what_does_not_fit_is_refused(how, error, message):
    with pytest.raises(error, match=message):
        landscape(**how)


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (problems.rosenbrock, {"dim": 1}, "from 2 to 64"),
        (problems.rastrigin, {"dim": 2.0}, "an integer"),
        (problems.ackley, {"dim": 65}, "from 1 to 64"),
        (problems.ellipse, {"condition": 0.0}, "> 0"),
        (problems.random_quadratic, {"condition": 0.5}, ">= 1"),
        (problems.noisy_quadratic, {"noise": -1.0}, ">= 0"),
        (problems.rosenbrock, {"start": (1.0, 2.0, 3.0)}, "start must have 2"),
    ],
)
def test_test_functions_refuse_what_makes_no_sense(make, how, message):
    with pytest.raises(SpecError, match=message):
        make(**how)


def test_a_call_needs_every_coordinate():
    with pytest.raises(SpecError, match=r"2 coordinates \(x, y\); got 1"):
        problems.beale()(1.0)


def test_fastopts_maths_is_numpys_in_python():
    problem = landscape(lambda x: (maths.exp(x), (maths.exp(x),)), start=(0.5,))
    assert problem(1.0)[0] == pytest.approx(math.e, rel=1e-15)
