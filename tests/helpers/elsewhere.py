"""Another operating system, as far as a Python process can play it: one that has less than Linux.

:func:`system_without` writes a ``sitecustomize`` that takes away, in every process that finds it,
what macOS or Windows do not have. It cannot show what they do otherwise: their names of files, how
they start processes, what their compilers emit.
"""

from __future__ import annotations

from pathlib import Path

# Owners of files, and with them the folder of compiled code that other tests fill.
USERS = ("getuid", "geteuid")

SITE = r"""
import builtins, io, os, signal, sys

for module in ("fcntl", "resource", "pwd", "grp", "termios", "syslog"):
    sys.modules[module] = None  # importing it fails
for module, names in (
    (os, "sched_getaffinity sched_setaffinity fork forkpty {users} getgid getegid sysconf "
         "register_at_fork link symlink mkfifo getloadavg O_NOFOLLOW O_NONBLOCK O_CLOEXEC "
         "O_DIRECTORY chown"),
    (signal, "pthread_sigmask pthread_kill SIGALRM alarm setitimer"),
):
    for name in names.split():
        vars(module).pop(name, None)

def hidden(path):
    try:
        text = os.fsdecode(path)
    except TypeError:
        return False
    return text.startswith(("/proc", "/sys/"))

def without(call, is_opener=False):
    def lacking(path, *args, **kwargs):
        if hidden(path):
            raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        if is_opener and isinstance(path, str | os.PathLike) and os.path.isdir(path):
            raise PermissionError(13, "Permission denied", os.fsdecode(path))  # as Windows says
        return call(path, *args, **kwargs)
    return lacking

for name in ("stat", "lstat", "listdir", "scandir"):
    setattr(os, name, without(getattr(os, name)))
os.open = without(os.open, is_opener=True)
builtins.open = io.open = without(io.open)
"""


def system_without(folder: Path, *, users: bool) -> Path:
    """Write the module; return the folder that is to come first where modules are searched.

    Without ``users`` files have no owners, either.
    """
    folder.mkdir(exist_ok=True)
    gone = USERS[:1] if users else USERS
    (folder / "sitecustomize.py").write_text(SITE.replace("{users}", " ".join(gone)))
    return folder
