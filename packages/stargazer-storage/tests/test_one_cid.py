"""One file, three parties: kept here, uploaded to Pinata's emulator, fetched from the reference gateway: one CID."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

import pytest
import requests
from stargazer.storage.objects import Objects

from .ipfs_gateway import IpfsGateway
from .pinata_emulator import PinataEmulator

KIB = 1024
LEAF, LINKS = 256 * KIB, 174
SIZES = [0, 1, 55, 64 * KIB, LEAF - 1, LEAF, LEAF + 1, 1_000_003, 5 * KIB * KIB]
NODE = [LINKS * LEAF - 1, LINKS * LEAF, LINKS * LEAF + 1]
CHUNK = 47 * KIB * KIB


def written(path: Path, size: int) -> Path:
    """A file without two equal leaves."""
    with path.open("wb") as out:
        for start in range(0, size, LEAF):
            out.write((hashlib.shake_128(start.to_bytes(8, "big")).digest(KIB) * 256)[: size - start])
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sha256_at(url: str) -> str:
    digest = hashlib.sha256()
    with requests.get(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(KIB * KIB):
            digest.update(piece)
    return digest.hexdigest()


def uploaded_at_once(pinata: PinataEmulator, path: Path) -> str:
    with path.open("rb") as content:
        answer = requests.post(
            f"{pinata.uploads}/v3/files",
            headers={"Authorization": f"Bearer {pinata.jwt}"},
            data={"network": "public"},
            files={"file": content},
            timeout=60,
        )
    return str(answer.json()["data"]["cid"])


def uploaded_in_chunks(pinata: PinataEmulator, path: Path) -> str:
    headers = {"Authorization": f"Bearer {pinata.jwt}", "Tus-Resumable": "1.0.0"}
    plan = {
        "Upload-Length": str(path.stat().st_size),
        "Upload-Metadata": f"network {base64.b64encode(b'public').decode()}",
    }
    url = requests.post(f"{pinata.uploads}/v3/files", headers=headers | plan, timeout=60).headers["Location"]
    headers["Content-Type"] = "application/offset+octet-stream"
    offset, answer = 0, requests.Response()
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            answer = requests.patch(
                url, data=chunk, headers={**headers, "Upload-Offset": str(offset)}, timeout=60
            )
            offset += len(chunk)
    return answer.headers["upload-cid"]


@pytest.mark.parametrize("size", [*SIZES, *NODE, pytest.param(1 << 30, marks=pytest.mark.long)])
def test_a_file_has_one_cid_everywhere(
    size: int, pinata: PinataEmulator, ipfsgw: IpfsGateway, tmp_path: Path
) -> None:
    source = written(tmp_path / "source", size)
    blocks = tmp_path / "blocks"

    kept = Objects(tmp_path / "store").add(source)
    uploaded = (uploaded_in_chunks if size > CHUNK else uploaded_at_once)(pinata, source)
    (imported,) = ipfsgw.add(source, store=blocks)

    assert kept.cid == uploaded == imported
    assert sha256_at(f"{pinata.gateway}/ipfs/{kept.cid}") == sha256_of(source)
    assert sha256_at(f"{ipfsgw.serve(blocks)}/ipfs/{kept.cid}") == sha256_of(source)
    shutil.rmtree(tmp_path)  # pytest would keep gigabytes
