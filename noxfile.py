"""Sessions that a change must pass, each in an environment of its own.

``nox`` runs all but those of hours, ``nox -s tests-3.12`` one, ``nox -l`` lists them; what stands
after ``--`` goes to pytest: ``nox -s oldest -- tests/fastopt/test_rules.py -n 2``. Needs
``pip install -e ".[dev]"`` and the interpreters: a session whose Python is missing is skipped.
"""

from __future__ import annotations

import nox
from packaging.requirements import Requirement
from packaging.version import Version

PYPROJECT = nox.project.load_toml("pyproject.toml")
PROJECT = PYPROJECT["project"]
PYTHONS = nox.project.python_versions(PYPROJECT)  # those of the classifiers
EVERYTHING = ("-n", "auto", "--dist", "loadfile")

# What users install, whose lowest versions are promised; tools of the tests are the newest.
PROMISED = ("torch", "onnx", "optuna", "dask", "loky", "plot", "report", "studies")


def required(*extras: str) -> dict[str, Requirement]:
    """Return what the package with these extras requires, by name."""
    texts = [*PROJECT["dependencies"]]
    texts += [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            found |= required(*requirement.extras)
        else:
            found[requirement.name] = requirement
    return found


def lowest(requirement: Requirement) -> str:
    """Return the oldest version that a requirement allows, as a requirement."""
    oldest = min(Version(part.version) for part in requirement.specifier)
    return f"{requirement.name}=={oldest}"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or EVERYTHING))


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest versions that pyproject.toml allows."""
    promised = required(*PROMISED)
    tools = [str(r) for name, r in required("test").items() if name not in promised]
    session.install(*map(lowest, promised.values()), *tools)
    session.install("--no-deps", "-e", ".")
    session.run("python", "-m", "pytest", *(session.posargs or EVERYTHING))


@nox.session(python=PYTHONS[0])
def bench_smoke(session: nox.Session) -> None:
    """Run every benchmark once on little data: none is measured, all must work."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "bench", "--benchmark-enable", "--quick", "-q")


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.install(str(required("test")["ruff"]))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """Check the types."""
    session.install("-e", ".[test]")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[test,docs]")
    session.run(
        "python", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build"
    )


@nox.session(python=PYTHONS[0], default=False)
def mutation(session: nox.Session) -> None:
    """Change one place at a time and see whether tests notice; ``-- rules`` is a part of it."""
    session.install("-e", ".[test]", "cosmic-ray>=8.7")
    session.run("python", "-m", "tests.mutation", *session.posargs)
    session.run("python", "docs/reliability.py", "--page")
