"""The files of a store: which there are, whether they are whole, and what they belong to."""

from __future__ import annotations

import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, StoreError, SweepWarning
from sweeps.store import fs
from sweeps.store.compare import differences, same
from sweeps.store.identity import FORMAT, digest, provenance
from sweeps.store.parts import Part, named, verified

__all__ = ["CURVES", "ROWS", "Folder", "Stored"]

ROWS, CURVES, FACTS, BAD = "parts", "curves", "facts", "bad"
EFFECTIVE = os.access in os.supports_effective_ids
SPEC = re.compile(r"spec(-(?P<number>\d{4,})-[0-9a-f]{16})?\.json")


@dataclass(frozen=True)
class Stored:
    """One sweep of a store: the first, or one that has grown out of it.

    ``identity`` is what :func:`sweeps.store.identity.identity` returns, ``name`` its digest, which
    the names of its parts contain; ``number`` counts the sweeps of a store from 1.
    """

    identity: dict[str, Any]
    provenance: dict[str, Any]
    name: str
    number: int


class Folder:
    """A store on disk.

    Parameters
    ----------
    path : path-like
        The folder. It is looked at only when a method is called.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"

    def prepare(self) -> None:
        """Make the folders, see that they can be written, and clear away what the dead left.

        Raises
        ------
        StoreError
            A folder cannot be made or written.
        """
        for name in (ROWS, CURVES, FACTS):
            folder = self.path / name
            fs.make_folder(folder)
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
                raise fs.failure(PermissionError(13, "Permission denied"), folder)
            fs.sweep_drafts(folder)
        fs.sweep_drafts(self.path)

    def sweeps(self, mend: bool = False) -> list[Stored]:
        """Return the sweeps of the store, oldest first.

        Parameters
        ----------
        mend : bool
            Set damaged documents aside with a warning, to be written again; else they are errors.

        Raises
        ------
        StoreError
            There is no such folder, a document is damaged, or written by a newer version.
        """
        found = []
        for path in sorted(self._list(self.path)):
            name = SPEC.fullmatch(path.name)
            if not name:
                continue
            stored = _read_spec(path, int(name["number"] or 1))
            if isinstance(stored, Stored):
                found.append(stored)
            elif mend:
                self.set_aside(path, stored, "It is written again")
            else:
                raise StoreError(
                    f"{path} is damaged: {stored}. Run the command of the sweep again: it writes "
                    "the file anew and goes on with what is stored"
                )
        return sorted(found, key=lambda stored: (stored.number, stored.name))

    def the_sweep(self) -> Stored:
        """Return the newest sweep.

        Raises
        ------
        StoreError
            There is none: the folder is missing or no store.
        """
        found = self.sweeps()
        if not found:
            raise StoreError(
                f"{self.path} holds no sweep (there is no spec.json); name the folder that was "
                "given as store"
            )
        return found[-1]

    def claim(self, identity: dict[str, Any]) -> Stored:
        """Return the stored sweep that is this one, or write this one down as a new one.

        Raises
        ------
        SpecError
            The store holds another sweep, of which this one is no extension; the message lists
            what differs.
        """
        known = self.sweeps(mend=True)
        for stored in known:
            if same(stored.identity, identity):
                _warn_of_versions(self.path, stored.provenance)
                return stored
        unlike = [differences(stored.identity, identity) for stored in known]
        if known and all(unlike):
            listed = "\n  ".join(min(unlike, key=len)[:20])
            raise SpecError(
                f"{self.path} holds another sweep:\n  {listed}\n"
                "Use the settings of the store to go on with it (values may be added to its axes), "
                "or name another folder for this sweep"
            )
        number = max((stored.number for stored in known), default=0) + 1
        new = Stored(identity, provenance(), digest(identity), number)
        suffix = f"-{number:04d}-{new.name}" if number > 1 else ""
        document = {"digest": new.name, "identity": identity, "provenance": new.provenance}
        text = json.dumps(document, indent=1, allow_nan=False)
        fs.publish(self.path / f"spec{suffix}.json", text.encode())
        # Of two different sweeps that begin in one empty folder at once, one must give way.
        return new if number > 1 or self.sweeps()[0].name == new.name else self.claim(identity)

    def listed(self, kind: str, sweep: str, chunks: range | None = None) -> list[Part]:
        """Return the parts of a sweep by their names, each chunk once, in order of the chunks.

        A part of several chunks goes before those of one that it was made of. With ``chunks``,
        only parts that have some of these are returned.
        """
        found = [named(path.name) for path in self._list(self.path / kind)]
        parts = sorted(
            (part for part in found if part is not None and part.sweep == sweep),
            key=lambda part: (-part.count, part.first, part.content),
        )
        chosen, covered = [], set[int]()
        for part in parts:
            if covered.isdisjoint(part.chunks):
                covered.update(part.chunks)
                chosen.append(part)
        return sorted(p for p in chosen if chunks is None or any(k in chunks for k in p.chunks))

    def whole(self, kind: str, sweep: str, chunks: range | None = None) -> list[Part]:
        """Return what is listed and has the right bytes; set the others aside.

        Warns
        -----
        SweepWarning
            A part is damaged.
        """
        good: set[Part] = set()
        while True:
            parts = self.listed(kind, sweep, chunks)
            wrong = {part: self._problem(kind, part) for part in parts if part not in good}
            for part, problem in wrong.items():
                if problem:
                    self.set_aside(self.path / kind / str(part), problem, "Its trials run again")
            good |= {part for part, problem in wrong.items() if problem == ""}
            if good.issuperset(parts):
                return parts

    def set_aside(self, path: Path, problem: str, consequence: str) -> None:
        """Move a damaged file to the folder ``bad``, and say so."""
        to = self.path / BAD / path.name
        fs.make_folder(to.parent)
        fs.move(path, to)
        warnings.warn(
            f"{path} is damaged: {problem}. It was set aside as {to}. {consequence}",
            SweepWarning,
            stacklevel=2,
        )

    def _problem(self, kind: str, part: Part) -> str | None:
        """Return what is wrong with a part, or nothing; None if it is gone, put into another."""
        try:
            return verified(part, fs.read(self.path / kind / str(part)))
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def _list(self, folder: Path) -> list[Path]:
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            if folder != self.path:
                return []
            raise StoreError(
                f"there is no folder {self.path}; name the one that was given as store"
            ) from None
        except OSError as error:
            raise StoreError(f"{folder} cannot be read: {error.strerror}") from error


def _read_spec(path: Path, number: int) -> Stored | str:
    """Return what a document says, or what is wrong with it."""
    try:
        document = json.loads(fs.read(path))
        identity = document["identity"]
        if identity["format"] > FORMAT:
            raise StoreError(f"{path} was written by a newer version of fastopt; update it")
        if digest(identity) != document["digest"]:
            return "its content is not what was written"
        return Stored(identity, document["provenance"], document["digest"], number)
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"


def _warn_of_versions(path: Path, before: dict[str, Any]) -> None:
    """Say so if the rest of a sweep is computed by other code or another CPU than its beginning."""
    now = provenance()
    keys = [key for key in before if key not in ("git", "pandas", "pyarrow")]
    changed = [
        f"{key} {before[key]} -> {now.get(key)}" for key in keys if before[key] != now.get(key)
    ]
    if changed:
        warnings.warn(
            f"{path} was begun with {', '.join(changed)}: trials that run from here on may differ "
            "in their last bits from what they would have been",
            SweepWarning,
            stacklevel=2,
        )
