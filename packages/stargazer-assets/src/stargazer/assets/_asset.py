"""`@asset`, which makes a class an asset type, and `fetch`, which brings an asset to this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import attrs
from stargazer.assets.client import StorageClient
from stargazer.assets.declaration import check_declaration, define, resolve_annotations
from stargazer.assets.model import REGISTRY, Asset

__all__ = ["asset", "fetch"]

A = TypeVar("A", bound=Asset)
C = TypeVar("C", bound=type)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def asset(
    key: str,
    *,
    suffix: str | Mapping[bytes, str] | None = None,
    check: Callable[[Path], None] | None = None,
    folder: bool | None = None,
    in_file: tuple[str, ...] | None = None,
) -> Callable[[C], C]:
    """Make a class an asset type and register it under `key`; done again, as in a notebook cell, it replaces the class.

        @asset("panel", suffix=".tsv")
        class GenePanel(Asset):
            name: str
            build: str = "GRCh38"

    Args:
        key: its name in metadata and queries.
        suffix: what its files are called, beginning with a dot, or first bytes -> suffix, tried in order on
            the bytes as they are and decompressed; b"" stands for all others. For a companion that replaces
            its primary's suffix (x.fa, x.dict) the suffix begins with `^`.
        check: looks at head and tail of a file that is registered, and raises FormatError.
        folder: the file is an uncompressed tar of a folder.
        in_file: fields that files of this type say themselves, so that they need not be given when one is added.

    What is not given is inherited from the class that this one extends.

    Raises:
        InvalidAssetError: a field's name is reserved or its type has no text form, a link's name does not
            follow from what it points at, or there are too many fields.
    """

    def register(cls: C) -> C:
        made: Any = define(cls)
        given = {
            "suffix": suffix,
            "check": staticmethod(check) if check else None,
            "folder": folder,
            "in_file": in_file,
        }
        for name, value in {"asset_key": key, **given}.items():
            if value is not None:
                setattr(made, name, value)
        resolve_annotations(made, sys._getframe(1).f_locals)
        check_declaration(key, made, Asset)
        REGISTRY[key] = made
        return cast(C, made)

    return register


async def fetch(asset: A, folder: Path | None = None, *, client: StorageClient | None = None) -> A:
    """An asset with its verified bytes on this machine, its companions beside it: see `Asset.fetch`."""
    return await asset.fetch(folder, client=client)
