"""What clients of a server may do: where they may read and write files, what they may fetch, and how much of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.assets.addresses import has_secrets, without_secrets
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Reach, Settings

__all__ = ["Access"]

SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
"""Folders of what is no file: processes with their environment, settings of the kernel, devices."""


def _absolute(roots: Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    return tuple(Path(os.path.abspath(os.path.expanduser(root))) for root in roots)


@attrs.frozen(kw_only=True)
class Access:
    """What clients of a server may do.

    Attributes:
        roots: folders; files outside of them and of the store are neither read nor written.
        read_only: nothing is registered, changed, removed or run.
        urls: whether files may be fetched from https addresses.
        loopback: whether addresses of this machine may be fetched, by http too: for tests.
        size: bytes of the largest file that is taken.
        runs: how many runs may go on at once; more are refused.
    """

    roots: tuple[Path, ...] = attrs.field(factory=lambda: (Path.cwd(),), converter=_absolute)
    read_only: bool = False
    urls: bool = True
    loopback: bool = False
    size: int = 200 * 2**30
    runs: int = 8

    def as_dict(self) -> dict[str, Any]:
        """What of it a job needs, as JSON has it; `Access(**values)` takes it."""
        more = {"loopback": True} if self.loopback else {}
        return {"roots": [str(root) for root in self.roots], "size": self.size, "urls": self.urls, **more}

    def inside(self, path: str | os.PathLike[str], *, writing: bool = False) -> Path:
        """A file or folder that clients may read, or one that they may write, whether it is there or not.

        Links are followed, wherever in the path they are: what counts is where it leads. What is hidden, by a name that
        begins with a dot, is where programs keep keys: it is left alone, unless a root is in it.

        Args:
            path: relative ones count from the first root.
            writing: to it, or into it: not to the store, which writes its files itself.

        Returns:
            It, without links in its folder; its own name is the one given, unless it is written.

        Raises:
            InvalidAssetError: it leads out of the roots, is hidden, a device or a pipe; the message names the roots.
        """
        given = os.fspath(path)
        shown = shortened(given)
        if not given:
            raise InvalidAssetError("an empty path: expected that of a file or folder")
        named = self.roots[0] / os.path.expanduser(given)
        try:
            found = Path(os.path.realpath(named))
            parent = Path(os.path.realpath(named.parent))
            allowed = self._allows(found, writing=writing)
        except ValueError:  # a zero byte
            raise InvalidAssetError(f"{shown} is no path") from None
        if not allowed:
            folders = ", ".join(repr(str(root)) for root in self._named(writing))
            raise InvalidAssetError(
                f"{shown} is not in a folder that clients may {'write' if writing else 'read'}: {folders}, but for "
                "what is hidden there"
            )
        try:
            mode = os.stat(found).st_mode
        except OSError:  # who opens it says what is wrong
            mode = stat.S_IFREG
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InvalidAssetError(f"{shown} is no file and no folder: a device, a pipe or a socket")
        if writing or named.name in ("", ".."):
            return found
        return parent / named.name

    def _allows(self, path: Path, *, writing: bool) -> bool:
        """Whether a path without links may be read, or written."""
        settings = Settings.load()
        roots = [Path(os.path.realpath(root)) for root in self.roots]
        store = Path(os.path.realpath(settings.local))
        home = Path(os.path.realpath(settings.home))
        if path == home / "config.toml":  # which has tokens
            return False
        if path.is_relative_to(store):
            return not writing
        system = [folder for folder in SYSTEM if path.is_relative_to(folder)]
        if system:  # but /dev/shm is a folder like others, where it is a root
            roots = [root for root in roots if root.is_relative_to(system[0]) and root != system[0]]
        if path.is_relative_to(home):  # runs, logs and caches of Stargazer itself
            roots = [root for root in roots if root.is_relative_to(home)]
        return any(
            path.is_relative_to(root) and not any(part[0] == "." for part in path.relative_to(root).parts)
            for root in roots
        )

    def _named(self, writing: bool) -> list[Path]:
        """The folders that an error names: of the store, where it is read."""
        store = Settings.load().local
        return [root for root in self.roots if root != store] + ([] if writing else [store])

    def address(self, url: str) -> str:
        """A URL that clients may fetch; its host is judged when the connection is made (`reach`).

        Raises:
            InvalidAssetError: none may be, or it is not https, or it has a user, a password, a query or a fragment.
        """
        shown = shortened(without_secrets(url))
        if not self.urls:
            raise InvalidAssetError(
                f"{shown}: this server fetches nothing from URLs: give a file of this machine"
            )
        if not url.lower().startswith(("https://", "http://")):
            raise InvalidAssetError(f"{shown}: expected https://, or the path of a file of this machine")
        if has_secrets(url):
            raise InvalidAssetError(
                f"{shown}: a URL is kept in records and shown: give it without user, password, query and fragment"
            )
        return url

    @property
    def reach(self) -> Reach:
        """What may be asked for a URL."""
        return Reach(loopback=self.loopback)
