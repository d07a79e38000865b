"""Bringing one file together from untrusted sources: resumed, retried, and started over when its bytes are wrong."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import frozen
from stargazer.assets import StorageError
from stargazer.storage.threads import check_interrupted, pause

from .http import Pace, SourceError
from .parts import Compute, Follower, Part
from .sources import Source

__all__ = ["Assembly", "Fault", "Progress", "WrongBytesError"]

T = TypeVar("T")

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and those in all where known."""

PAUSES = (0.5, 2.0)
"""Seconds before the second and third round over sources whose failure may pass."""

MOST_CUTS = 1000
"""Connections that one source may break before the next one is asked, whatever came of them."""

MOST_UNSAID = 4 << 30
"""Bytes of a body of which neither its source nor anybody else says the size."""

RESERVE = 256 << 20
"""Bytes of the disk that a download of unknown size leaves free."""

CHECK_ROOM = 64 << 20
"""Bytes of such a download between two looks at the disk."""


class WrongBytesError(SourceError):
    """A source gave all its bytes, and they are not those asked for."""


@frozen
class Fault:
    """A source, and what it did instead of giving the bytes: "<name> <error>" is a sentence."""

    name: str
    error: SourceError


class Assembly(Generic[T]):
    """One file on its way.

    Args:
        cid: asked of every source.
        part: where it is assembled.
        size: bytes that are certain; a source that offers another number is refused.
        most: bytes that it has at most; a source that offers or sends more is refused.
        compute: what is needed to judge the bytes, computed while they arrive.
        judge: raises WrongBytesError unless the bytes with this result are right.
        progress: told what has arrived.
        pace: makes the measure of how fast a source is, over all the connections that it breaks.
    """

    def __init__(
        self,
        cid: str,
        part: Part,
        size: int | None,
        compute: Compute[T],
        judge: Callable[[T, int], None],
        progress: Progress | None = None,
        *,
        most: int | None = None,
        pace: Callable[[], Pace] = Pace,
    ) -> None:
        self._cid, self._part, self._certain = cid, part, size
        self._most, self._new_pace = most, pace
        self._compute, self._judge, self._progress = compute, judge, progress
        self._follower: Follower[T] | None = None
        self._visits = 1 if part.size else 0  # how many visits to sources this part is made of

    def bring(self, sources: Sequence[Source]) -> list[Fault]:
        """Try the sources in turn until the part holds the right bytes: nothing is returned then, else every fault.

        Raises:
            StorageError: this machine's disk does not take the bytes.
        """
        faults: dict[int, Fault] = {}
        try:
            waiting = list(range(len(sources)))
            if self._certain is not None and self._part.size == self._certain and self._complete_before():
                return []
            for seconds in (0.0, *PAUSES):
                asked = max(
                    (faults[number].error.wait for number in waiting if number in faults), default=0.0
                )
                pause(max(seconds * random.uniform(0.75, 1.25), asked))
                for number in list(waiting):
                    error = self._bring_from(sources[number])
                    if error is None:
                        return []
                    faults[number] = Fault(sources[number].name, error)
                    if not error.passing:
                        waiting.remove(number)
                if not waiting:
                    break
            return [faults[number] for number in sorted(faults)]
        finally:
            self._unfollow()

    def _complete_before(self) -> bool:
        """Whether an earlier process left the whole file."""
        try:
            self._conclude(self._part.size)
        except SourceError:
            self._restart()
            return False
        return True

    def _bring_from(self, source: Source) -> SourceError | None:
        """Why this source did not bring the file to its end, or None if the right bytes are there.

        It has a count of cuts and a budget of time: who gives too few bytes for the time that we wait for them, in one
        connection or in many, is left, and the next source goes on where it stopped.
        """
        cuts, once_more, pace = 0, True, self._new_pace()
        while True:
            check_interrupted()
            before = self._part.size
            try:
                self._conclude(self._visit(source, pace))
                return None
            except WrongBytesError as error:
                mixed = self._visits > 1
                self._restart()
                if not (mixed and once_more):
                    return error
                once_more = False
            except SourceError as error:
                cuts += 1
                if not error.passing or self._part.size <= before or cuts > MOST_CUTS:
                    return error
                if pace.is_too_slow():
                    return pace.failure()
                if self._part.size - before < CHECK_ROOM and cuts > 3:
                    with pace.waiting():
                        pause(min(0.01 * cuts, 1.0))

    def _visit(self, source: Source, pace: Pace) -> int:
        """Append what the source gives: the size of the file, which is complete now."""
        part = self._part
        if self._certain is not None and part.size >= self._certain:
            self._restart()
        with contextlib.ExitStack() as stack:
            with pace.waiting():
                body = stack.enter_context(source.open(self._cid, part.size))
            if body.start != part.size:
                if body.start != 0:
                    raise SourceError(f"starts at byte {body.start:,}, not {part.size:,}")
                self._restart()
            self._visits += 1
            size = self._agreed(body.size)
            self._follow(size)
            if size is not None:
                self._check_room(size)
            checked = part.size
            limit = size if size is not None else MOST_UNSAID if self._most is None else self._most
            pieces = iter(body.pieces)
            while True:
                with pace.waiting():
                    piece = next(pieces, None)
                if piece is None:
                    break
                check_interrupted()
                pace.got += len(piece)
                if part.size + len(piece) > limit:
                    self._restart()
                    raise SourceError(self._too_much(size))
                part.write(piece)
                if size is None and part.size - checked >= CHECK_ROOM:
                    self._check_room(None)
                    checked = part.size
                if self._follower is not None:
                    self._follower.advance(part.size)
                if self._progress is not None:
                    self._progress(part.size, size)
        if size is not None and part.size < size:
            raise SourceError(f"ended after {part.size:,} of {size:,} bytes", passing=True)
        return part.size

    def _agreed(self, offered: int | None) -> int | None:
        if self._certain is not None and offered is not None and offered != self._certain:
            raise SourceError(f"offers {offered:,} bytes, not the {self._certain:,} of the file")
        if self._most is not None and offered is not None and offered > self._most:
            raise SourceError(f"offers {offered:,} bytes, more than the {self._most:,} of the file")
        return self._certain if self._certain is not None else offered

    def _too_much(self, size: int | None) -> str:
        known = size if size is not None else self._most
        if known is not None:
            return f"sends more than the {known:,} bytes of the file"
        return (
            f"gives no size, and more than {MOST_UNSAID:,} bytes: download it yourself, and add the file "
            "(`stargazer add FILE ...`)"
        )

    def _check_room(self, size: int | None) -> None:
        """Whether the disk can take what is still to come; a source's own figures are no reason to give up others."""
        room = self._part.room
        if size is not None and size - self._part.size > room:
            if size == self._certain:
                self._part.check_room(size)
            raise SourceError(f"offers {size:,} bytes, and the disk has room for {room:,}")
        if size is None and room < RESERVE:
            arrived = self._part.size
            self._restart()
            raise SourceError(
                f"gives no size, and after {arrived:,} bytes only {room:,} are free on the disk"
            )

    def _conclude(self, size: int) -> None:
        """Judge the complete file."""
        self._follow(size)
        assert self._follower is not None
        self._follower.advance(size)
        try:
            found = self._follower.result()
        except StorageError:
            raise
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or "it was changed by somebody else"
            raise StorageError(f"{os.fspath(self._part.path)!r} cannot be read back: {reason}") from error
        self._unfollow()
        self._judge(found, size)

    def _follow(self, size: int | None) -> None:
        """Have a follower for a file of this size, and none for another."""
        if self._follower is not None and self._follower.size == size:
            return
        self._unfollow()
        if size is not None:
            self._follower = Follower(self._compute, self._part.fd, size)
            self._follower.advance(self._part.size)

    def _unfollow(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None

    def _restart(self) -> None:
        self._unfollow()
        self._part.restart()
        self._visits = 0
