"""Downloading a file by URL: streamed, bounded in time, and verified before anybody sees it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from stargazer.assets.errors import IntegrityError, InvalidAssetError, StorageError

__all__ = ["download", "file_name", "without_secrets"]

TIMEOUT = (20, 60)  # seconds to connect, and without a byte
PIECE = 1 << 20
LENGTHS = {"sha256": 64, "md5": 32}


@contextlib.contextmanager
def download(url: str, sums: Mapping[str, str], work: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """A verified file in a private folder of the store, gone at the end of the block.

    Args:
        url: http or https.
        sums: `sha256` or `md5` to the checksum in hexadecimal; at least one.
        work: folder of the store for workspaces; what a killed process left there is swept by the next run.
        tell: told what is being downloaded.

    Raises:
        InvalidAssetError: no checksum, or one that cannot be.
        StorageError: the server does not give the file, or the disk does not take it.
        IntegrityError: the bytes are not what the checksum says.
    """
    _check_sums(url, sums)
    with _folder(work) as folder:
        path = folder / file_name(url)
        tell(f"downloading {without_secrets(url)}")
        found = _stream(url, path, list(sums))
        for name, wanted in sums.items():
            if found[name] != wanted.lower():
                raise IntegrityError(
                    f"{without_secrets(url)}: {name} is {found[name]}, expected {wanted.lower()}: "
                    "the file has changed or the checksum belongs to another one; nothing was registered"
                )
        yield path


def file_name(url: str) -> str:
    """The file name in a URL.

    Raises:
        InvalidAssetError: it has none.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in (".", "..") or re.search(r"[\x00-\x1f]", name):
        raise InvalidAssetError(f"{without_secrets(url)!r} names no file: give the URL of the file itself")
    return name


def without_secrets(url: str) -> str:
    """A URL without credentials, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _check_sums(url: str, sums: Mapping[str, str]) -> None:
    if not sums:
        raise InvalidAssetError(
            f"{without_secrets(url)}: what is downloaded is verified: give --sha256 SUM or --md5 SUM "
            "as published beside the file (without any, download it yourself and add the file)"
        )
    for name, text in sums.items():
        if not re.fullmatch(r"[0-9a-fA-F]+", text) or len(text) != LENGTHS[name]:
            raise InvalidAssetError(f"--{name}: expected {LENGTHS[name]} hexadecimal digits, got {text!r}")


def _stream(url: str, path: Path, names: list[str]) -> dict[str, str]:
    """Write the file and return its checksums by name."""
    import requests

    digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    try:
        with requests.get(
            url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
        ) as response:
            response.raise_for_status()
            with open(path, "xb") as file:
                for piece in response.iter_content(PIECE):
                    file.write(piece)
                    for digest in digests.values():
                        digest.update(piece)
    except requests.HTTPError as error:
        answer = error.response
        status = f"{answer.status_code} {answer.reason}" if answer is not None else "with an error"
        raise StorageError(f"{without_secrets(url)}: the server answered {status}") from None
    except requests.RequestException as error:
        raise StorageError(
            f"{without_secrets(url)}: could not be downloaded ({type(error).__name__}): try again"
        ) from None
    except OSError as error:
        raise StorageError(f"{without_secrets(url)}: cannot write {str(path)!r}: {error.strerror}") from error
    return {name: digest.hexdigest() for name, digest in digests.items()}


@contextlib.contextmanager
def _folder(work: Path) -> Iterator[Path]:
    """A private folder whose lock tells that it is in use, as for workspaces of tasks."""
    folder = work / f"download-{secrets.token_hex(6)}"
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        held = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write to {str(work)!r}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(held)
