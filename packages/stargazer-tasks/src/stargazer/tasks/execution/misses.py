"""Why a call of a task is not remembered: told before anything runs."""

from __future__ import annotations

import attrs
from stargazer.assets import StargazerError
from stargazer.storage.lineage import Nearest

__all__ = ["Miss", "NotRemembered"]


class NotRemembered(StargazerError):
    """A task would have to be computed, and nothing is to be: it was only asked what is remembered."""


@attrs.frozen(kw_only=True)
class Miss:
    """One call that the memo does not answer.

    Attributes:
        task: its full name.
        label: what it works on, for people: sample, lane, interval.
        note: why, where that is not a matter of the run key: refreshed, or not memoised at all.
        nearest: the earlier execution whose run key differs least, and in what; None if there is none.
        absent: the inputs whose bytes are not here, role and CID: they are brought, or computed again, first.
    """

    task: str
    label: str = ""
    note: str = ""
    nearest: Nearest | None = None
    absent: list[str] = attrs.field(factory=list)

    def explain(self) -> str:
        """Why, in lines for people."""
        why = self.note or (self.nearest.explain() if self.nearest else "it was never executed here")
        absent = [f"not here, and brought or computed again first: {item}" for item in self.absent]
        return "\n".join([why, *absent])
