"""What fsck finds: one problem, what was done about it, and what is left to do."""

from __future__ import annotations

from typing import Literal

import attrs
from stargazer.storage.maintenance.sweep import SweepReport

__all__ = ["FsckReport", "Kind", "Problem"]

Kind = Literal["index", "document", "stray", "damaged", "missing"]


@attrs.frozen
class Problem:
    """One thing that was not as it should be.

    Attributes:
        what: a CID, or a path within the store.
        names: file names of its records.
        found: what was wrong.
        done: what was done about it, or would be.
        fixed: nothing is lost, and nothing is left to do.
        todo: what is left to do.
    """

    kind: Kind
    what: str
    found: str
    done: str = ""
    fixed: bool = False
    todo: str = ""
    names: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class FsckReport:
    """What fsck looked at and found.

    Attributes:
        full: whether every byte was hashed.
        repair: whether anything was changed.
        objects, bytes: what the store holds; links to users' files with them.
        hashed, hashed_bytes: what of it was read.
        unhashed: objects of records that were not hashed since the index was made.
        elsewhere: records whose bytes were never here, and can be brought.
        replayed: provenance documents that the index did not know.
        swept: what killed processes had left.
    """

    full: bool
    repair: bool
    objects: int = 0
    bytes: int = 0
    hashed: int = 0
    hashed_bytes: int = 0
    unhashed: int = 0
    elsewhere: int = 0
    replayed: int = 0
    problems: list[Problem] = attrs.field(factory=list)
    swept: SweepReport = attrs.field(factory=SweepReport)

    @property
    def ok(self) -> bool:
        """Whether nothing is lost or left to do."""
        return all(problem.fixed for problem in self.problems)
