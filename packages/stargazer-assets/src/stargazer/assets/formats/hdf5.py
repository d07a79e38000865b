"""HDF5 files whose bytes lie in other files: what such a file holds is not what its CID says."""

from __future__ import annotations

from typing import Any

from stargazer.assets.errors import FormatError

__all__ = ["check_whole"]


def check_whole(file: Any) -> None:
    """Refuse a file of HDF5, opened by h5py, that has parts in other files: they may be any of the machine.

    Raises:
        FormatError: a link, the bytes of an array, or the parts that it is put together of lead to another file.
    """

    def elsewhere(name: str, link: Any) -> str | None:
        if type(link).__name__ == "ExternalLink":
            return name
        if type(link).__name__ != "HardLink":
            return None  # what a soft link leads to is visited by itself, or is not there
        member = file[name]
        return name if getattr(member, "external", None) or getattr(member, "is_virtual", False) else None

    if found := file.visititems_links(elsewhere):
        raise FormatError(f"{found!r} lies in another file: write it anew, with all of it in one file")
