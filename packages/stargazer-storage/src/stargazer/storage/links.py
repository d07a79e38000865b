"""CIDs as others write them: any version and any usual base, as text or as bytes."""

from __future__ import annotations

import base64
import re

from attrs import frozen
from stargazer.assets import FormatError

from .cid import cid_text
from .profiles import DAG_PB, RAW, SHA2_256

__all__ = ["Link", "normal", "parse_binary", "parse_cid", "read_varint"]

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_TEXT = re.compile(r"[A-Za-z0-9_=-]{2,128}")
_CODECS = {
    0x71: "a dag-cbor document",
    0x72: "an IPNS key",
    0x0129: "a dag-json document",
    0x78: "a git object",
}


@frozen
class Link:
    """What a CID says: how a block is encoded, and its SHA-256. Version 0 or 1 makes no difference to either."""

    codec: int
    digest: bytes

    def __str__(self) -> str:
        return cid_text(self.codec, self.digest)


def normal(cid: str) -> str:
    """A CID as Stargazer writes it: CIDv1 in base32, whatever base and version it comes in.

        >>> normal("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH")
        'bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y'

    Raises:
        FormatError: if it is no CID, or not one of a file hashed by SHA-256.
    """
    return str(parse_cid(cid))


def parse_cid(cid: str) -> Link:
    """What a CID in text says; see normal()."""
    try:
        return parse_binary(_decode_text(cid))
    except ValueError as error:
        reason = str(error) if isinstance(error, FormatError) else "it does not decode"
    raise FormatError(
        f"{cid!r} is not the CID of a file: {reason}. Expected 'bafybei...', 'bafkrei...' or 'Qm...'."
    )


def parse_binary(cid: bytes) -> Link:
    """What a CID as nodes and CARs hold it says.

    Raises:
        FormatError: if it is no CID, or not one of a file hashed by SHA-256.
    """
    if cid.startswith(SHA2_256) and len(cid) == 34:
        return Link(DAG_PB, cid[2:])
    if len(cid) == 36 and cid[0] == 1 and cid[1] in (RAW, DAG_PB) and cid[2:4] == SHA2_256:
        return Link(cid[1], cid[4:])
    if not cid or cid[0] != 1:
        raise FormatError("unknown version, or no CID at all")
    codec, at = read_varint(cid, 1, len(cid))
    function, at = read_varint(cid, at, len(cid))
    if codec not in (RAW, DAG_PB):
        raise FormatError(f"it names {_CODECS.get(codec, f'data of type {codec:#x}')}")
    if function != SHA2_256[0]:
        raise FormatError(f"it is hashed by function {function:#x}, and only SHA-256 (0x12) is verified here")
    raise FormatError("its digest is too short or too long")


def _decode_text(text: str) -> bytes:
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise FormatError("no CID has such characters or such a length")
    if text.startswith("Qm"):
        return _from_digits(text, _BASE58)
    base, body = text[0], text[1:]
    if base in "bB":
        if body != (body.lower() if base == "b" else body.upper()):
            raise FormatError("small and capital letters are mixed")
        decoded = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
        if base64.b32encode(decoded).decode("ascii").rstrip("=") != body.upper():
            raise FormatError("its last character is wrong")
        return decoded
    if base in "fF":
        return bytes.fromhex(body)
    if base == "z":
        return _from_digits(body, _BASE58)
    if base in "kK":
        return _from_digits(body.lower(), _BASE36)
    if base in "uU":
        decoded = base64.b64decode(
            body.rstrip("=") + "=" * (-len(body.rstrip("=")) % 4), b"-_", validate=True
        )
        if base64.urlsafe_b64encode(decoded).decode("ascii").rstrip("=") != body.rstrip("="):
            raise FormatError("its last character is wrong")
        return decoded
    raise FormatError(f"unknown base {base!r}")


def _from_digits(text: str, digits: str) -> bytes:
    number = 0
    for character in text:
        number = number * len(digits) + digits.index(character)
    zeros = len(text) - len(text.lstrip(digits[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def read_varint(block: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned number of up to 64 bits, 7 a byte, and where it ends.

    Raises:
        FormatError: if it is longer, or does not end before `end`.
    """
    number = shift = 0
    while at < end and shift < 64:
        byte = block[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if number >= 1 << 64:
                break
            return number, at
    raise FormatError("malformed number: truncated or too long")
