"""The files of a store: list them, verify them, and tell to which sweep each belongs."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, StoredSpecError, StoreError, SweepWarning
from sweeps.common.resources import check_path
from sweeps.store import fs
from sweeps.store.changes import differences, is_same_sweep
from sweeps.store.documents import StoredSweep, digest, read_spec
from sweeps.store.parts import Part, find_damage, footer_digest, parse_name, read_footer

ROWS, CURVES, FACTS, BAD = "parts", "curves", "facts", "bad"
MOST_LOOKS = 100
"""Looks at a folder in which other processes write; two or three are usual."""

EFFECTIVE = os.access in os.supports_effective_ids
SPEC = re.compile(r"spec(-(?P<number>\d{4,})-[0-9a-f]{16})?\.json")


class Folder:
    """A store on disk.

    It is looked at only when a method is called.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"

    def prepare(self) -> None:
        """Make the folders, check that they can be written, remove drafts of dead processes."""
        for name in (ROWS, CURVES, FACTS):
            folder = self.path / name
            fs.make_folder(folder)
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=EFFECTIVE):
                raise fs.write_error(PermissionError(13, "Permission denied"), folder)
            fs.remove_dead_drafts(folder)
        fs.remove_dead_drafts(self.path)

    def sweeps(self, repair: bool = False) -> list[StoredSweep]:
        """Return the sweeps of the store, oldest first.

        ``repair``: set damaged documents aside with a warning, to be written again; else they are
        errors.
        """
        found = []
        for path in sorted(self._list_files(self.path)):
            name = SPEC.fullmatch(path.name)
            if not name:
                continue
            try:
                stored = read_spec(path, int(name["number"] or 1))
            except FileNotFoundError:  # set aside by another process
                continue
            if isinstance(stored, StoredSweep):
                found.append(stored)
            elif repair:
                self.set_aside(path, stored, "It is written again")
            else:
                raise StoredSpecError(
                    f"{path} is damaged: {stored}. Run the command of the sweep again: it writes "
                    "the file anew and goes on with what is stored"
                )
        return sorted(found, key=lambda stored: (stored.number, stored.name))

    def newest_sweep(self) -> StoredSweep:
        """Return the newest sweep."""
        found = self.sweeps()
        if not found:
            raise StoreError(
                f"{self.path} holds no sweep (there is no spec.json); name the folder that was "
                "given as store"
            )
        return found[-1]

    def open_or_create(self, identity: dict[str, Any]) -> StoredSweep:
        """Return the stored sweep with this identity, or create it.

        Raises SpecError, with what differs, if it is no extension of what the store holds.
        """
        for _ in range(MOST_LOOKS):
            known = self.sweeps(repair=True)
            for stored in known:
                if is_same_sweep(stored.identity, identity):
                    _warn_of_versions(self.path, stored.provenance)
                    return stored
            new = self._create(identity, known)
            # Of two different sweeps that begin in one empty folder at once, one must give way.
            if new.number > 1 or [stored.name for stored in self.sweeps()][:1] == [new.name]:
                return new
        raise self._unstable_error(self.path)

    def _create(self, identity: dict[str, Any], known: list[StoredSweep]) -> StoredSweep:
        """Create a sweep beside those that are stored, if it has grown out of one of them."""
        from sweeps.store.identity import restore_space

        for stored in known:
            restore_space(stored.identity["space"])  # raises if it cannot be compared with
        unlike = [differences(stored.identity, identity) for stored in known]
        if known and all(unlike):
            listed = "\n  ".join(min(unlike, key=len)[:20])
            raise SpecError(
                f"{self.path} holds another sweep:\n  {listed}\n"
                "Use the settings of the store to go on with it (values may be added to its axes), "
                "or name another folder for this sweep"
            )
        number = max((stored.number for stored in known), default=0) + 1
        new = StoredSweep(identity, provenance(), digest(identity), number)
        suffix = f"-{number:04d}-{new.name}" if number > 1 else ""
        document = {"digest": new.name, "identity": identity, "provenance": new.provenance}
        text = json.dumps(document, indent=1, allow_nan=False)
        fs.publish(self.path / f"spec{suffix}.json", text.encode())
        return new

    def list_parts(self, kind: str, stored: StoredSweep, chunks: range | None = None) -> list[Part]:
        """Return the parts of a sweep by their names, each chunk once, in order of the chunks.

        A part of several chunks replaces the parts that it was made of. Names with chunks that the
        sweep does not have are left out: they were not written by it.
        """
        parts = sorted(
            (p for p in self.named_parts(kind, stored.name) if p.chunks.stop <= stored.chunks),
            key=lambda part: (-part.count, part.first, part.content),
        )
        chosen: list[Part] = []
        for part in parts:
            # Not chunk by chunk: a name may claim 10**15 of them.
            k = bisect.bisect(chosen, part.first, key=lambda p: p.first)
            if _are_in_order(*chosen[max(k - 1, 0) : k], part, *chosen[k : k + 1]):
                chosen.insert(k, part)
        return [part for part in chosen if chunks is None or _overlap(chunks, part.chunks)]

    def named_parts(self, kind: str, sweep: str) -> list[Part]:
        """Return every part whose name says that it is of this sweep."""
        found = [parse_name(path.name) for path in self._list_files(self.path / kind)]
        return [part for part in found if part is not None and part.sweep == sweep]

    def verified_parts(
        self, kind: str, stored: StoredSweep, chunks: range | None = None
    ) -> list[Part]:
        """Return the listed parts that have the right bytes; set the others aside."""
        good: set[Part] = set()
        for _ in range(MOST_LOOKS):
            parts = self.list_parts(kind, stored, chunks)
            wrong = {part: self._find_damage(kind, part) for part in parts if part not in good}
            for part, problem in wrong.items():
                if problem:
                    self.set_aside(self.path / kind / str(part), problem, "Its trials run again")
            good |= {part for part, problem in wrong.items() if problem == ""}
            if good.issuperset(parts):
                return parts
        raise self._unstable_error(self.path / kind)

    def set_aside(self, path: Path, problem: str, consequence: str) -> None:
        """Move a damaged file to the folder ``bad``, and say so."""
        fs.make_folder(self.path / BAD)
        to = fs.move(path, self.path / BAD)
        warnings.warn(
            f"{path} is damaged: {problem}. It was set aside as {to}. {consequence}",
            SweepWarning,
            stacklevel=2,
        )

    def _find_damage(self, kind: str, part: Part) -> str | None:
        """Return what is wrong with a part, "" for nothing; None if it was merged into another."""
        path = self.path / kind / str(part)
        try:
            # The footer first: a damaged file may be huge (sparse), and is not read in full.
            footer = read_footer(path)
            if footer_digest(footer) != part.content[-8:]:
                return "its bytes are not those that were written"
            return find_damage(part, fs.read(path))
        except FileNotFoundError:
            return None
        except fs.NotAFile as error:
            return str(error.strerror)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def _unstable_error(self, path: Path) -> StoreError:
        return StoreError(
            f"{path} is never the same twice: after {MOST_LOOKS} looks its files still come and "
            "go. Stop whatever else works in that folder, and run the same command again"
        )

    def _list_files(self, folder: Path) -> list[Path]:
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


def _are_in_order(*parts: Part) -> bool:
    """Tell whether the chunks of each part come after those of the one before."""
    return all(a.chunks.stop <= b.first for a, b in itertools.pairwise(parts))


def _overlap(some: range, run: range) -> bool:
    """Tell whether any of ``some`` chunks is in a run of consecutive ones.

    >>> _overlap(range(1, 100, 4), range(6, 9)), _overlap(range(1, 100, 4), range(6, 10))
    (False, True)
    """
    skipped = -(-max(run.start - some.start, 0) // some.step)
    return skipped < len(some) and some[skipped] < run.stop


def _warn_of_versions(path: Path, before: dict[str, Any]) -> None:
    """Warn if a sweep is continued by other code or on another CPU than it was begun with."""
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


def provenance() -> dict[str, Any]:
    """Return where results come from: versions, CPU, and the git revision of the current folder."""
    from fastopt.doctor import versions

    return {**versions(), "git": _revision()}


def _revision() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
