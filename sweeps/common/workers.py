"""A process at the end of a pipe: a new interpreter that answers calls until the pipe ends.

Not one of multiprocessing: those run the script of their parent again, so that it needs a guard and
a file, and a worker of a ``multiprocessing.Pool`` may not have any. What these run travels by value
(:mod:`sweeps.common.pickling`), and they need neither.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing import connection, spawn
from typing import Any

from sweeps.common.interrupt import CHILDREN

# Seconds between looks at whether a parent is alive.
LOOK = 2.0

# A new interpreter, because a forked one inherits locks of OpenMP.
PROGRAM = (
    "import sys; sys.path = {path}; "
    "from sweeps.common.workers import serve; serve({pipe}, {parent})"
)


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Start processes that do not receive Ctrl-C, which a terminal sends to all of them.

    One that did, before :func:`init_worker` has run, would print a traceback of its imports.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: until they import it, they print one
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def init_worker(parent: int) -> None:
    """Prepare a worker process: it ignores Ctrl-C, which its parent handles, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # A pool whose parent was killed waits for its queue for good (python/cpython#111873).
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def serve(handle: int, parent: int) -> None:
    """Answer calls until the pipe with this file descriptor ends."""
    init_worker(parent)
    with contextlib.suppress(EOFError, OSError), _open_inherited(handle) as pipe:
        while True:
            answer = _run_call(pipe.recv_bytes())
            with contextlib.suppress(AttributeError, ValueError):  # there is none, or it is closed
                sys.stdout.flush()  # what a call prints is there although its worker is killed
            pipe.send_bytes(answer)


def _run_call(call: bytes) -> bytes:
    """Run a pickled call; return whether it returned, and what it returned or raised, pickled."""
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:  # some exceptions hold what cannot travel, or cannot be made again
            answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer


def _options_to_inherit(pipe: Any) -> dict[str, Any]:
    """Return the options of Popen by which a process gets our pipe under the number it has here."""
    if sys.platform == "win32":
        os.set_handle_inheritable(pipe.fileno(), True)
        return {"close_fds": False}
    return {"pass_fds": [pipe.fileno()]}


def _open_inherited(handle: int) -> Any:
    """Return the pipe of this number, which programs that calls start would else keep open."""
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, False)
        return connection.PipeConnection(handle)
    os.set_inheritable(handle, False)
    return connection.Connection(handle)


class Worker:
    """A process that waits for calls.

    ``environment``: variables that it has beside those of this process. ``quiet``: what it says on
    stderr is thrown away.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, quiet: bool = False
    ) -> None:
        self._pipe, theirs = connection.Pipe()
        path = [folder for folder in sys.path if isinstance(folder, str)]
        program = PROGRAM.format(path=path, pipe=theirs.fileno(), parent=os.getpid())
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with block_sigint(), theirs:
            self._process = subprocess.Popen(
                [spawn.get_executable(), *flags, "-c", program],
                # The rest of a script may come from there.
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if quiet else None,
                env={**os.environ, **(environment or {})},
                **_options_to_inherit(theirs),
            )
        CHILDREN.add(self._process)

    def ask(self, call: bytes) -> bytes:
        """Have it run a call; return the answer, or raise EOFError or OSError if it ends first."""
        self._pipe.send_bytes(call)
        return self._pipe.recv_bytes()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def reap(self) -> None:
        """End the process, collect its exit status and close its pipe."""
        self._process.kill()
        self._process.wait()
        CHILDREN.discard(self._process)
        self._pipe.close()
