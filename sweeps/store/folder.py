"""The files of a store: which there are, whether they are whole, and what they belong to."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, StoredSpecError, StoreError, SweepWarning
from sweeps.common.resources import check_path
from sweeps.store import fs
from sweeps.store.changes import differences, same
from sweeps.store.documents import Stored, read_spec
from sweeps.store.identity import digest, provenance, restored
from sweeps.store.parts import Part, digest_of_footer, named, read_footer, verified

__all__ = ["CURVES", "ROWS", "Folder", "Stored"]

ROWS, CURVES, FACTS, BAD = "parts", "curves", "facts", "bad"
TRIES = 100
"""Looks at a folder in which other processes write; two or three are usual."""

EFFECTIVE = os.access in os.supports_effective_ids
SPEC = re.compile(r"spec(-(?P<number>\d{4,})-[0-9a-f]{16})?\.json")


class Folder:
    """A store on disk.

    Parameters
    ----------
    path : path-like
        The folder. It is looked at only when a method is called.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)

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
            try:
                stored = read_spec(path, int(name["number"] or 1))
            except FileNotFoundError:  # set aside by another process
                continue
            if isinstance(stored, Stored):
                found.append(stored)
            elif mend:
                self.set_aside(path, stored, "It is written again")
            else:
                raise StoredSpecError(
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
        for _ in range(TRIES):
            known = self.sweeps(mend=True)
            for stored in known:
                if same(stored.identity, identity):
                    _warn_of_versions(self.path, stored.provenance)
                    return stored
            new = self._written(identity, known)
            # Of two different sweeps that begin in one empty folder at once, one must give way.
            if new.number > 1 or [stored.name for stored in self.sweeps()][:1] == [new.name]:
                return new
        raise self._restless(self.path)

    def _written(self, identity: dict[str, Any], known: list[Stored]) -> Stored:
        """Write a sweep down as a new one beside those that are known."""
        for stored in known:
            restored(stored.identity["space"])  # or there is nothing to compare with
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
        return new

    def listed(self, kind: str, stored: Stored, chunks: range | None = None) -> list[Part]:
        """Return the parts of a sweep by their names, each chunk once, in order of the chunks.

        A part of several chunks goes before those of one that it was made of. With ``chunks``,
        only parts that have some of these are returned. Names that claim chunks which the sweep
        does not have are those of strangers.
        """
        parts = sorted(
            (p for p in self.claimed(kind, stored.name) if p.chunks.stop <= stored.chunks),
            key=lambda part: (-part.count, part.first, part.content),
        )
        chosen: list[Part] = []
        for part in parts:
            # Not chunk by chunk: of a name that claims 10**15 there would be no end.
            k = bisect.bisect(chosen, part.first, key=lambda p: p.first)
            if _follow(*chosen[max(k - 1, 0) : k], part, *chosen[k : k + 1]):
                chosen.insert(k, part)
        return [part for part in chosen if chunks is None or _meet(chunks, part.chunks)]

    def claimed(self, kind: str, sweep: str) -> list[Part]:
        """Return every part whose name says that it is of this sweep."""
        found = [named(path.name) for path in self._list(self.path / kind)]
        return [part for part in found if part is not None and part.sweep == sweep]

    def whole(self, kind: str, stored: Stored, chunks: range | None = None) -> list[Part]:
        """Return what is listed and has the right bytes; set the others aside.

        Raises
        ------
        StoreError
            Parts come and go for ever.

        Warns
        -----
        SweepWarning
            A part is damaged.
        """
        good: set[Part] = set()
        for _ in range(TRIES):
            parts = self.listed(kind, stored, chunks)
            wrong = {part: self._problem(kind, part) for part in parts if part not in good}
            for part, problem in wrong.items():
                if problem:
                    self.set_aside(self.path / kind / str(part), problem, "Its trials run again")
            good |= {part for part, problem in wrong.items() if problem == ""}
            if good.issuperset(parts):
                return parts
        raise self._restless(self.path / kind)

    def set_aside(self, path: Path, problem: str, consequence: str) -> None:
        """Move a damaged file to the folder ``bad``, and say so."""
        fs.make_folder(self.path / BAD)
        to = fs.move(path, self.path / BAD)
        warnings.warn(
            f"{path} is damaged: {problem}. It was set aside as {to}. {consequence}",
            SweepWarning,
            stacklevel=2,
        )

    def _problem(self, kind: str, part: Part) -> str | None:
        """Return what is wrong with a part, or nothing; None if it is gone, put into another."""
        path = self.path / kind / str(part)
        try:
            # The end first: what was grown to a size of its own, by a hole, is not read in full.
            footer = read_footer(path)
            if digest_of_footer(footer) != part.content[-8:]:
                return "its bytes are not those that were written"
            return verified(part, fs.read(path))
        except FileNotFoundError:
            return None
        except fs.NoFile as error:
            return str(error.strerror)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def _restless(self, path: Path) -> StoreError:
        return StoreError(
            f"{path} is never the same twice: after {TRIES} looks its files still come and go. "
            "Stop whatever else works in that folder, and run the same command again"
        )

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


def _follow(*parts: Part) -> bool:
    """Tell whether the chunks of each part come after those of the one before."""
    return all(a.chunks.stop <= b.first for a, b in itertools.pairwise(parts))


def _meet(some: range, run: range) -> bool:
    """Tell whether any of ``some`` chunks is in a run of consecutive ones.

    >>> _meet(range(1, 100, 4), range(6, 9)), _meet(range(1, 100, 4), range(6, 10))
    (False, True)
    """
    skipped = -(-max(run.start - some.start, 0) // some.step)
    return skipped < len(some) and some[skipped] < run.stop


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
