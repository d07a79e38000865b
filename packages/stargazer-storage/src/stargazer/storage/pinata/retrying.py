"""What passes and what does not: the two errors of the service, how long to wait, and at which pace to ask."""

from __future__ import annotations

import datetime
import random
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import attrs
from stargazer.assets import StorageError

__all__ = [
    "PASSING",
    "PATIENCE",
    "Backoff",
    "Pace",
    "Passing",
    "Patience",
    "Refused",
    "Unavailable",
    "retry_after",
]

PASSING = frozenset({408, 409, 423, 425, 429, 460})
"""Answers below 500 that may be another one the next time; 460 is TUS's checksum mismatch."""

_SLOWEST = 2.0
"""Seconds between requests, at most: half the rate of Pinata's free plan (60 a minute)."""

_CALM = 20
"""Requests let through in a row after which the pace doubles."""


class Unavailable(StorageError):
    """Pinata cannot be reached or is overloaded: it passes, and nothing is lost by trying again later."""


class Refused(StorageError):
    """Pinata said no: trying the same again is no use.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Passing(Exception):
    """One attempt failed in a way that may pass; never leaves this package.

    Attributes:
        status: the HTTP status of the answer, 0 if there was none.
        after: seconds the service asked us to wait.
    """

    def __init__(self, why: str, status: int = 0, after: float | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.after = after

    @property
    def maybe_done(self) -> bool:
        """Whether the service may have done what it was asked, and only the answer was lost."""
        return self.status == 0 or self.status >= 500


@attrs.frozen
class Patience:
    """How often and for how long to try.

    Attributes:
        attempts: in a row without progress.
        seconds: spent waiting between them, in all.
        longest: seconds of one wait, also if the service asks for more.
    """

    attempts: int = 7
    seconds: float = 180.0
    longest: float = 60.0


PATIENCE = Patience()
"""That of a command somebody waits for: about a minute when nothing answers."""


class Backoff:
    """Waits between attempts: twice as long each time, with jitter, or as the service asks.

    `what` is the text of the error in the end.
    """

    def __init__(self, what: str, patience: Patience, sleep: Callable[[float], object]) -> None:
        self._what, self._patience, self._sleep = what, patience, sleep
        self.progressed()

    def progressed(self) -> None:
        """Something was achieved: be as patient as in the beginning."""
        self._failures = 0
        self._waited = 0.0

    def again(self, failure: Passing) -> None:
        """Wait before the next attempt.

        Raises:
            Unavailable: there has been enough waiting.
        """
        self._failures += 1
        wait = 0.5 * 2 ** (self._failures - 1) * random.uniform(0.5, 1.0)
        if failure.after is not None:
            wait = max(wait, failure.after + random.uniform(0.0, 0.5))
        wait = min(wait, self._patience.longest)
        if self._failures >= self._patience.attempts or self._waited + wait > self._patience.seconds:
            times = "once" if self._failures == 1 else f"{self._failures} times"
            raise Unavailable(
                f"Pinata cannot {self._what} now: {failure} (tried {times}). Try again later."
            ) from None
        self._waited += wait
        self._sleep(wait)


class Pace:
    """Keeps all threads below the service's rate once it complained, and speeds up again while it does not."""

    def __init__(self, sleep: Callable[[float], object]) -> None:
        self._sleep = sleep
        self._lock = threading.Lock()
        self._interval = 0.0
        self._next = 0.0
        self._calm = 0

    @property
    def interval(self) -> float:
        """Seconds between two requests."""
        return self._interval

    def wait(self) -> None:
        """Wait for this request's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)

    def slower(self, seconds: float) -> None:
        """The service said 429: nobody asks for so many seconds, and then more slowly."""
        with self._lock:
            self._calm = 0
            self._interval = min(_SLOWEST, max(0.25, 2 * self._interval))
            self._next = max(self._next, time.monotonic() + seconds)

    def accepted(self) -> None:
        """A request was let through."""
        if self._interval:
            with self._lock:
                self._calm += 1
                if self._calm >= _CALM:
                    self._calm = 0
                    self._interval = self._interval / 2 if self._interval > 0.1 else 0.0


def retry_after(text: str, now: datetime.datetime | None = None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date; None if it says nothing usable.

    Source: RFC 9110, section 10.2.3.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - (now or datetime.datetime.now(datetime.UTC))).total_seconds())
