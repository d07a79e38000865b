"""Times and sizes as people write them on a command line, counts as they read them, and how far a long run is."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator

from stargazer.mcp.cli.output import human_size
from stargazer.mcp.cli.words import Parser

__all__ = ["byte_progress", "count", "parse_bytes", "parse_seconds"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip


def parse_seconds(parser: Parser, option: str, text: str) -> float:
    """Seconds of a time like 30m, 12h, 14d or 2w; 0 alone is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    if match is None or (not match[2] and float(match[1]) != 0):
        parser.error(f"{option}: expected a time like 30m, 12h, 14d or 2w, got {text!r}")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_bytes(parser: Parser, option: str, text: str) -> int:
    """Bytes of a size like 500MB or 2GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _SIZES:
        parser.error(f"{option}: expected a size like 500MB or 2GB, got {text!r}")
    return int(float(match[1]) * _SIZES[match[2].upper()])


def count(number: int, what: str) -> str:
    """A number of things: 1 file, 2,000 files."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def byte_progress(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Show on a terminal how far a long run is, on one line that goes when it ends."""
    if not sys.stderr.isatty():
        yield None
        return
    began = last = time.monotonic()

    def show(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.2:
            return
        last = now
        rate = done / (now - began)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        whole = f" of {human_size(total)}" if total else ""
        sys.stderr.write(f"\r\x1b[K{what} {human_size(done)}{whole} at {human_size(rate)}/s{left}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
