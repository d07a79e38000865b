"""A file as Pinata describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

import attrs

__all__ = ["PENDING", "PinataFile", "network_of"]

PENDING = "pending"
"""The CID of a file that Pinata has not added to IPFS yet."""


@attrs.frozen(kw_only=True)
class PinataFile:
    """One record of a Pinata account. Several may share a CID.

    Attributes:
        id: the record's name in the account.
        cid: of the bytes; "pending" while Pinata has not computed it.
        name: as given to the upload.
        size: as Pinata counts: the bytes of the file, or those of its blocks, which are a little more.
        keyvalues: flat metadata.
        public: whether it is on the public network.
        created_at: ISO 8601.
        mime_type: as Pinata guessed it.
    """

    id: str
    cid: str
    name: str = ""
    size: int = 0
    keyvalues: Mapping[str, str] = attrs.field(factory=dict)
    public: bool = False
    created_at: str = ""
    mime_type: str = ""

    @classmethod
    def parse(cls, data: Any, public: bool) -> Self:
        """A file from an answer's `data`; `public` counts where the answer does not name the network.

        Source: the SDK's FileListItem and UploadResponse (PinataCloud/pinata, src/core/types); keyvalues can be
        null there.

        Raises:
            ValueError: it is no file.
        """
        if not isinstance(data, dict) or not all(_is_name(data.get(key)) for key in ("id", "cid")):
            raise ValueError("no id or no CID")
        pairs = data.get("keyvalues")
        size = data.get("size")
        return cls(
            id=data["id"],
            cid=data["cid"],
            name=_text(data.get("name")),
            size=size if isinstance(size, int) else 0,
            keyvalues={key: _text(value) for key, value in pairs.items()} if isinstance(pairs, dict) else {},
            public={"public": True, "private": False}.get(_text(data.get("network")), public),
            created_at=_text(data.get("created_at")),
            mime_type=_text(data.get("mime_type")),
        )


def network_of(public: bool) -> str:
    """The name of a network in the API."""
    return "public" if public else "private"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
