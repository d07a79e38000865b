"""Files to register: what is said of them, and everything that can be wrong with them before a byte is copied."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from stargazer.assets import Asset, FormatError, InvalidAssetError
from stargazer.assets.addresses import has_secrets, without_secrets
from stargazer.storage.refusals import refused

__all__ = [
    "Addition",
    "check_files",
    "check_metadata",
    "keyvalues_of",
    "refuse_secrets",
    "settle",
    "status_of",
    "with_links",
    "without_provenance",
]

_PENDING = "pending"  # stands for the CID of a file that is registered together with the one that names it


@attrs.frozen
class Addition:
    """A file to register.

    Attributes:
        path: of the file.
        asset: what it is, without a CID unless its bytes are in the store.
        name: under which it is registered; the file's own by default.
        origin: where it came from: a file name or a public URL.
        in_place: it is not copied; the store points at it, and notices if it changes.
        public: on the public network, if it goes to one; as the settings say by default.
        force: it is registered even if it does not fit what is said of it, and provenance says why it does not.
    """

    path: Path
    asset: Asset
    name: str = ""
    origin: str = ""
    in_place: bool = False
    public: bool | None = None
    force: bool = False

    @property
    def title(self) -> str:
        """The name under which it is registered: the file's own unless another was given."""
        return _text(self.name or self.path.name)

    @property
    def public_origin(self) -> str:
        """Where it came from, fit to be read by anybody: no folder, no credentials, no query (it may be signed)."""
        if "://" not in self.origin:
            return _text(Path(self.origin or self.path).name)
        return _text(without_secrets(self.origin))


def check_files(additions: Sequence[Addition]) -> None:
    """Look at every file's state, head and tail.

    Raises:
        FormatError: one is missing, unreadable, no file, empty, or not of its type.
    """
    for item in additions:
        status, name = status_of(item.path), str(item.path)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(f"{name!r} is not a regular file: write its content to a file first")
        if not os.access(item.path, os.R_OK):
            raise FormatError(f"{name!r} cannot be read: check its permissions")
        if status.st_size == 0:
            raise FormatError(f"{name!r} is empty")
        if check := type(item.asset).check:
            check(item.path)


def status_of(path: Path) -> os.stat_result:
    """The state of a file that is to be registered.

    Raises:
        FormatError: it is missing, or a folder, or cannot be looked at.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise FormatError(f"no such file: {str(path)!r}") from None
    except OSError as error:
        raise FormatError(str(refused(error, path))) from error
    if stat.S_ISDIR(status.st_mode):
        raise FormatError(f"{str(path)!r} is a folder: give the files in it")
    return status


def check_metadata(assets: Sequence[Asset]) -> None:
    """Look at the metadata of assets that are registered together; their links may point at one another.

    Raises:
        InvalidAssetError: a field's value is not of its type, or a link points at what is neither stored nor here.
    """
    together = {id(asset): _PENDING for asset in assets}
    for asset in assets:
        if asset.asset_key == "provenance":
            raise InvalidAssetError(
                "provenance is written by the store alone: give the files that it tells of"
            )
        refuse_secrets(keyvalues_of(with_links(asset.copy(), together)))


def refuse_secrets(pairs: Mapping[str, str]) -> None:
    """Refuse metadata with a URL that may hold a secret: it would be kept, shown and sent along.

    Raises:
        InvalidAssetError: a URL has a user, a password, a query or a fragment.
    """
    for key, value in pairs.items():
        if has_secrets(value):
            raise InvalidAssetError(
                f"{key}={value!r}: a URL in metadata is kept and shown to others: give it without user, password, "
                "query and fragment"
            )


def with_links(asset: Asset, cids: Mapping[int, str]) -> Asset:
    """An asset whose links point at assets as if these were stored; it is itself where there are no such links.

    Args:
        cids: of the assets that are registered together, by the id() of each.
    """
    targets = {name: getattr(asset, name) for name in asset.links()}
    found = {
        name: target.copy(cid=cids[id(target)])
        for name, target in targets.items()
        if isinstance(target, Asset) and id(target) in cids
    }
    return asset.copy(**found) if found else asset


def settle(additions: Sequence[Addition], cids: Sequence[str]) -> None:
    """Set the CIDs of what was registered, and in the links that point at it."""
    for item, cid in zip(additions, cids, strict=True):
        item.asset.cid = cid
    for item in additions:
        item.asset.resolve_links()


def keyvalues_of(asset: Asset) -> dict[str, str]:
    """An asset's metadata as provenance names it: without `provenance_cid`."""
    return without_provenance(asset.keyvalues)


def without_provenance(keyvalues: Mapping[str, str]) -> dict[str, str]:
    """Metadata without `provenance_cid`, which the store sets."""
    return {key: value for key, value in keyvalues.items() if key != "provenance_cid"}


def _text(name: str) -> str:
    """A file name as valid text: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
