"""Every command with what it cannot take: exit status 2 or 1, a message that says where, no trace.

The command lines are made from the commands themselves: each argument left out, each option
without its value or with a bad one, options and commands that are none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import pytest
import typer
from click.testing import CliRunner

from sweeps.cli.commands import app
from tests.helpers.stores import run

COMMANDS = {
    name: command
    for name, command in typer.main.get_command(app).commands.items()
    if not hasattr(command, "commands")  # a group: tests/sweeps/cli/test_cache.py
}

SPEC = """[problem]
name = "ellipse"
[sweep]
steps = 3
[space]
lr = [0.1, 0.2]
"""

# What makes a command whole, so that one thing at a time is wrong.
WHOLE = {
    "sweep": ["spec.toml", "--dry-run"],
    "status": ["store"],
    "export": ["store", "out.csv"],
    "compact": ["store"],
    "doctor": [],
    "list": [],
    "model": ["store", "--out", "m.safetensors"],
    "predict": ["m.safetensors", "table.csv"],
    "plot": ["store", "sensitivity", "--out", "p.png"],
    "report": ["store", "r.html"],
    "init": ["new.toml"],
    "bench": ["--quick"],
    "study": ["--list"],
}

NO_NUMBERS = ("many", "1.5", "", "1e3", "0x10", "٣a", "-", "nan")
NOT_THERE = ("none", "no/such/place", "spec.toml/below", "text.txt", "empty", "store/..", "a\nb")
WRONG_ENDS = ("out", "out.txt", "out.csv.gz", "no/such/out.csv", "empty", ".csv/", "out.PNG2")

# By command and option; those of paths and numbers are made from their types.
BAD_VALUES = {
    ("sweep", "--jobs"): ("0", "-2", "99999999999999999999x", *NO_NUMBERS),
    ("sweep", "--shard"): ("1", "3/2", "-1/2", "a/b", "0/0", "1/", "/", "1/2/3", "0.5/2", "2/2"),
    ("sweep", "--executor"): ("nope", "thread", "Threads", "", "loky2"),
    ("sweep", "--store"): ("spec.toml", "text.txt", "spec.toml/below", "x" * 300),
    ("sweep", "--out"): WRONG_ENDS,
    ("model", "--out"): WRONG_ENDS,
    ("model", "--trial"): ("-1", "99", *NO_NUMBERS),
    ("model", "--spec"): NOT_THERE,
    ("predict", "--out"): WRONG_ENDS,
    ("plot", "--out"): ("p", "p.csv", "no/such/p.png", "empty", "p.html", "p.gif", "p.PNGX"),
    ("plot", "--x"): ("nope", "", "LR", "lr ", "trial"),
    ("plot", "--metric"): ("nope", "", "loss!", "train loss"),
    ("plot", "--band"): ("nope", "", "sigma", "RANGE"),
    ("plot", "--dpi"): ("0", "19", "1201", "-5", *NO_NUMBERS),
    ("init", "--data"): NOT_THERE,
    ("bench", "--out"): ("p", "p.csv", "no/such/p.png", "empty", "p.html"),
}  # fmt: skip
BAD_ARGUMENTS = {
    ("sweep", 0): NOT_THERE,
    ("status", 0): NOT_THERE,
    ("export", 0): NOT_THERE,
    ("export", 1): WRONG_ENDS,
    ("compact", 0): NOT_THERE,
    ("model", 0): NOT_THERE,
    ("predict", 0): NOT_THERE,
    ("plot", 0): NOT_THERE,
    ("plot", 1): ("nope", "", "Sensitivity", "heat map", "--"),
    ("report", 0): NOT_THERE,
    ("report", 1): ("r", "r.htm.txt", "no/such/r.html", "empty", "r.pdf", "r.png"),
    ("bench", 0): NOT_THERE,  # a file is for --history
    ("study", 0): ("nope", "no/such/study.py", "text.txt", "empty"),
}
NO_COMMANDS = ("sweeps", "Sweep", "run", "help", "", "store", "--nonsense", "-", "sweep.toml", "..")


def options_of(command):
    return [p for p in command.params if isinstance(p, click.Option) and p.name != "help"]


def lines():
    """Return ``(arguments, one of these must be in the message)``."""
    found = [([name], ["command", "option", "Usage"]) for name in NO_COMMANDS]
    for name, command in COMMANDS.items():
        whole = WHOLE[name]
        for option in ("--nonsense", "-Z", "--jsn", "--no-json", "--=", "---"):
            found.append(([name, *whole, option], [option[:2]]))
        if name != "study":  # which takes any number of names
            found.append(([name, *whole, *["surplus"] * 5], ["surplus"]))
        for k in range(sum(1 for p in command.params if isinstance(p, click.Argument))):
            if command.params[k].required:
                found.append(([name, *whole[:k]], ["Missing argument"]))
        for option in options_of(command):
            flag = option.opts[-1]
            if option.is_flag:
                found.append(([name, *whole, f"{flag}=yes"], [flag]))
            else:
                found.append(([name, *whole, flag], [flag]))
    for (name, option), values in BAD_VALUES.items():
        rest = [v for v in WHOLE[name] if (name, option, v) != ("sweep", "--store", "--dry-run")]
        found += [
            ([name, *rest, option, value], [option, said(value), "spec.toml"]) for value in values
        ]
    for (name, k), values in BAD_ARGUMENTS.items():
        rest = [v for v in WHOLE[name] if v != "--list"]
        found += [([name, *rest[:k], v, *rest[k + 1 :]], [said(v), "SPEC"]) for v in values]
    return found


def said(value):
    return value.split("/")[0].split("\n")[0][:20]


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.is_file()
        and hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to be in, with a good spec, a finished store, and other things."""
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(SPEC)
    Path("text.txt").write_text("no table\n")
    Path("table.csv").write_text("a,b\n1,2\n")
    Path("empty").mkdir()
    run("store", n_jobs=1)
    return tmp_path


def test_bad_command_lines(place, counted):
    before, wrong = files(place), []
    runner, terminal = CliRunner(), {"COLUMNS": "1000", "TERM": "dumb"}
    command = typer.main.get_command(app)
    for arguments, words in lines():
        done = runner.invoke(command, arguments, env=terminal)
        raised = done.exception is not None and not isinstance(done.exception, SystemExit)
        named = any(word in done.output for word in words)
        if done.exit_code not in (1, 2) or raised or not named or files(place) != before:
            wrong.append((arguments, done.exit_code, done.exception, done.output[-300:]))
            before = files(place)
    assert not wrong, "\n".join(map(str, wrong))
    counted(len(lines()))


def test_the_whole_commands_are_no_usage_errors(place):
    """What the bad ones are made from: each does what it says, or lacks a trained model."""
    for name, whole in WHOLE.items():
        if name not in ("bench", "init"):
            done = CliRunner().invoke(COMMANDS[name], whole, env={"COLUMNS": "1000"})
            assert done.exit_code == 0 or name in ("model", "predict"), (name, done.output)
