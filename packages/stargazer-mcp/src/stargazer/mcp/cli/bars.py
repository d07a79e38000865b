"""What a person sees while files are on their way: a bar for each on a terminal, elsewhere a line when it is done."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.output import escaped, human_size, note

if TYPE_CHECKING:
    from stargazer.storage.bundles import News

__all__ = ["moving"]


@contextlib.contextmanager
def moving() -> Iterator[Callable[[News], None]]:
    """Show what is fetched, on stderr: bars on a terminal, a line for each finished file elsewhere."""
    if not sys.stderr.isatty():
        yield _tell_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bars(shown)


def _tell_line(news: News) -> None:
    if news.state == "done":
        note(f"{news.name}: {human_size(news.size)}")
    elif news.state == "failed":
        note(f"{news.name}: failed")


class _Bars:
    """A bar for each file on its way; finished ones go, so that a bundle of thousands has a few lines."""

    def __init__(self, shown: Any):
        self._shown = shown
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, news: News) -> None:
        from rich.text import Text

        with self._lock:
            if news.state == "moving" and news.name not in self._bars:
                label = Text(escaped(news.name)).markup
                self._bars[news.name] = self._shown.add_task(label, total=news.size)
            if news.state == "moving":
                self._shown.update(self._bars[news.name], completed=news.done)
            elif news.state != "here":
                if news.name in self._bars:
                    self._shown.remove_task(self._bars.pop(news.name))
                mark = human_size(news.size) if news.state == "done" else "failed"
                self._shown.console.print(Text(f"{escaped(news.name)}: {mark}"))
