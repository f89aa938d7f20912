"""The command line, run in this process."""

from typer.testing import CliRunner

from sweeps.cli.commands import app


def call(*args, columns=1000):
    """Run a command, in a terminal wide enough not to wrap whatever the temporary folder is called.

    pytest counts its folders up, and rich wraps by width: at 120 columns run 1 000 on a machine
    broke a line that run 999 did not.
    """
    return CliRunner().invoke(app, [*map(str, args)], env={"COLUMNS": str(columns), "TERM": "dumb"})


def said(*args, code=0):
    """Run a command, see that it ends with ``code``, and return all that it printed."""
    done = call(*args)
    assert done.exit_code == code, done.output
    return done.output
