"""What clients of a server may do: where they may read and write files, what they may fetch, and how much of it."""

from __future__ import annotations

from pathlib import Path

import attrs
from stargazer.assets import InvalidAssetError

__all__ = ["Access"]


@attrs.frozen(kw_only=True)
class Access:
    """What clients of a server may do.

    Attributes:
        roots: folders; files outside of them are neither read nor written.
        read_only: nothing is registered, changed, removed or run.
        urls: whether files may be fetched from https addresses.
        loopback: whether addresses of this machine may be fetched, by http too: for tests.
        size: bytes of the largest file that is taken.
        runs: how many runs may go on at once; more are refused.
    """

    roots: tuple[Path, ...] = attrs.field(factory=lambda: (Path.cwd(),))
    read_only: bool = False
    urls: bool = True
    loopback: bool = False
    size: int = 200 * 2**30
    runs: int = 8

    def inside(self, path: str) -> Path:
        """The path of a file or folder, which must be below one of the roots.

        Raises:
            InvalidAssetError: it is not; the message names the roots.
        """
        found = Path(path).expanduser().resolve()
        if not any(found.is_relative_to(root.resolve()) for root in self.roots):
            raise InvalidAssetError(f"{path!r} is outside of {', '.join(map(str, self.roots))}")
        return found
