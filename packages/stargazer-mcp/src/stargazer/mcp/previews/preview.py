"""What a file holds, in brief: the header and first records of what the field knows, the first lines of other text.

Whatever a file is, its preview is a small JSON object, made of the first few megabytes: it may be huge, a bomb of gzip,
damaged, or not what its name says. Its text is data, with control characters written as escapes and long values cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import attrs
from stargazer.assets.formats import GZIP, is_bgzf
from stargazer.mcp.previews.headers import bam_preview, bcf_preview, sam_preview, vcf_preview
from stargazer.mcp.previews.text import brief, lines_of, shown
from stargazer.mcp.strict_json import parse

__all__ = ["LIMIT", "PNG", "Head", "head_of", "preview"]

LIMIT = 20_000  # characters of a preview as JSON

RAW, HELD = 2 << 20, 4 << 20  # bytes of a file that are read, and of what they decompress to
PIECE, MEMBERS = 1 << 16, 1_000  # bytes at a time, and members of gzip, which may be empty
SAMPLE = 4096  # bytes that tell text from other bytes
LINES = 12
DOCUMENT, JSON = 1 << 18, 8_000  # bytes of a document that is parsed, and characters of it that are shown
BLOCK, LOOKED, FILES = 512, 1_000, 30  # bytes of a header in a tar; files that are looked at, and shown
KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
)  # variables; no secret is one
SECONDS = 10  # for what a library reads in a process of its own
_reading = threading.BoundedSemaphore(2)
"""Held by such a process: a client may ask for many at once."""

PNG, HDF5 = b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n"
SAM = (b"@HD\tVN:", b"@SQ\tSN:", b"@RG\tID:")


@attrs.frozen
class Head:
    """What a file begins with, decompressed.

    Attributes:
        whole: nothing follows.
        packing: `gzip`, `BGZF`, or nothing.
        flaw: what is wrong with that.
    """

    data: bytes
    whole: bool
    packing: str = ""
    flaw: str = ""


def head_of(path: Path) -> Head:
    """What a file begins with, whatever it is: some megabytes at most.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        raw = file.read(PIECE)
        if not raw.startswith(GZIP):
            data = raw + file.read(HELD - len(raw))
            return Head(data, not file.read(1))
        return _inflated(file, raw)


def _inflated(file: BinaryIO, raw: bytes) -> Head:
    packing = "BGZF" if is_bgzf(raw) else "gzip"
    data, taken, member, members = bytearray(), len(raw), zlib.decompressobj(wbits=31), 1
    try:
        while len(data) < HELD:
            if not raw:
                raw = file.read(PIECE) if taken < RAW else b""
                taken += len(raw)
                if not raw:
                    ended = member.eof and not file.read(1)
                    flaw = "" if ended or taken >= RAW else "it ends in the middle of what is compressed"
                    return Head(bytes(data), ended, packing, flaw)
            if member.eof:
                if not GZIP.startswith(raw[:2]):
                    is_padding = not raw.strip(b"\0") and not file.read(1)
                    return Head(
                        bytes(data), is_padding, packing, "" if is_padding else "something else follows"
                    )
                if members == MEMBERS:
                    break
                member, members = zlib.decompressobj(wbits=31), members + 1
            data += member.decompress(raw, HELD - len(data))
            raw = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        return Head(bytes(data), False, packing, f"damaged: {error}")
    return Head(bytes(data), False, packing)


def preview(path: Path) -> dict[str, Any]:
    """What a file holds, in brief: always a JSON object of at most `LIMIT` characters.

    Its `kind` says what it was taken for: vcf, bcf, bam, cram, sam, h5ad, hdf5, png, json, html, tar, text, binary,
    empty; or `unreadable`.
    """
    try:
        head = head_of(path)
        described = _described(path, head)
    except OSError as error:
        return {"kind": "unreadable", "flaw": shown(error.strerror or str(error))}
    except Exception as error:  # a file that nobody has thought of: it is no fault of whoever asks
        return {"kind": "unreadable", "flaw": f"no preview of this file: {type(error).__name__}"}
    if head.packing:
        described["compressed"] = head.packing
    if head.flaw:
        described.setdefault("flaw", head.flaw)
    if len(json.dumps(described, ensure_ascii=False)) > LIMIT:
        return {key: described[key] for key in ("kind", "compressed", "flaw") if key in described}
    return described


def _described(path: Path, head: Head) -> dict[str, Any]:
    data = head.data
    if not data:
        return {"kind": "empty"}
    if data.startswith(b"BAM\1"):
        return bam_preview(data, head.whole)
    if data.startswith(b"BCF\2"):
        return bcf_preview(data, head.whole)
    if data.startswith(PNG):
        size = data[16:24]
        return {
            "kind": "png",
            "width": int.from_bytes(size[:4], "big"),
            "height": int.from_bytes(size[4:], "big"),
        }
    if data.startswith(HDF5) and not head.packing:
        return _by_library(path, "hdf5", "h5py", "pip install 'stargazer-mcp[scrna]'")
    if data.startswith(b"CRAM") and not head.packing:
        return _by_library(path, "cram", "pysam", "pip install stargazer-tasks")
    if data[257:262] == b"ustar" and not head.packing:
        return _tar_preview(path)
    if not _is_text(data):
        return {"kind": "binary", "begins": data[:24].hex(" ")}
    if data.startswith((b"##fileformat=VCF", b"#CHROM\tPOS")):
        return vcf_preview(data, head.whole)
    if data.startswith(SAM):
        return sam_preview(data, head.whole)
    return _text_preview(data, head.whole)


def _is_text(data: bytes) -> bool:
    """Whether bytes are text in UTF-8 or the like: no zeros, few that are no characters."""
    sample = data[:SAMPLE]
    text = sample.decode("utf-8", "replace")
    strange = sum(
        c == "\ufffd" or (c < "\xa0" and not c.isprintable() and c not in "\t\n\r\x1b") for c in text
    )
    return b"\0" not in sample and strange * 10 <= len(text)


def _text_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """A small document of JSON as it is, of a larger one the beginnings of its lists; of other text the first lines."""
    start = data[:SAMPLE].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        title = re.search(rb"<title>([^<]*)", data[:SAMPLE])
        return {"kind": "html", "title": shown(title[1].decode("utf-8", "replace")) if title else ""}
    if whole and len(data) <= DOCUMENT and start[:1] in b"{[":
        with contextlib.suppress(ValueError):
            value = parse(data.decode())
            for members in (len(data), 20, 5, 2):
                part = brief(value, members=members)
                if len(json.dumps(part)) <= JSON:
                    cut = (
                        {"cut": f"of longer lists, the first {members}"}
                        if part != brief(value, members=len(data))
                        else {}
                    )
                    return {"kind": "json", "value": part, **cut}
    lines = [shown(text) for text in islice(lines_of(data), LINES)]
    described: dict[str, Any] = {"kind": "text", "lines": lines}
    if whole:
        described["lines_in_all"] = data.count(b"\n") + (not data.endswith(b"\n"))
    elif len(lines) < LINES:
        described["cut"] = "lines are longer than what is read for a preview"
    return described


def _tar_preview(path: Path) -> dict[str, Any]:
    """Names and sizes of the first files of a tar, read from its headers alone."""
    found: list[dict[str, Any]] = []
    count, goes_on = 0, True
    with open(path, "rb") as file:
        for _ in range(LOOKED):
            block = file.read(BLOCK)
            if len(block) < BLOCK or block[257:262] != b"ustar":
                goes_on = False
                break
            octal = block[124:136].strip(b"\0 ")
            size = int(octal, 8) if octal and not octal.strip(b"01234567") else 0
            if block[156:157] in (b"0", b"\0"):
                count += 1
                name = block[:100].rstrip(b"\0").decode("utf-8", "replace")
                found += [{"name": shown(name), "size": size}] if len(found) < FILES else []
            file.seek(-(-size // BLOCK) * BLOCK, os.SEEK_CUR)
    return {
        "kind": "tar",
        "files": {"count": count, "first": found},
        **({"cut": "there are more"} if goes_on else {}),
    }


def _by_library(path: Path, kind: str, library: str, install: str) -> dict[str, Any]:
    """What a library says of a file, asked in a process of its own: a damaged file may crash it, or never end."""
    if find_spec(library) is None:
        return {"kind": kind, "missing": f"{library} is not installed: {install}"}
    words = [sys.executable, "-P", "-m", "stargazer.mcp.previews.libraries", kind, os.fspath(path)]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        with _reading:
            done = subprocess.run(
                words,
                capture_output=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
                env={**kept, "OPENBLAS_NUM_THREADS": "1"},
            )
    except subprocess.TimeoutExpired:
        return {"kind": kind, "flaw": f"{library} did not read it in {SECONDS} s"}
    if done.returncode != 0:
        why = [*lines_of(done.stderr)][-1:] or [f"{library} ended with status {done.returncode}"]
        return {"kind": kind, "flaw": f"{library} cannot read it: {shown(why[0])}"}
    said = json.loads(done.stdout)
    return (
        sam_preview(said["text"].encode(), said["whole"]) | {"kind": kind} if kind == "cram" else brief(said)
    )
