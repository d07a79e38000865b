"""Uploads to Pinata: in one request or resumable (TUS), until the account has the record that was asked for."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import attrs
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.download.http import Progress, Refused, SourceError, Unavailable
from stargazer.storage.pinata.api import PENDING, Answer, PinataApi, PinataFile, check, network_of, origin

__all__ = ["CHUNK", "TUS_ABOVE", "SteadyFile", "TusUpload", "upload", "upload_id"]

TUS_ABOVE = 90 << 20
"""Bytes above which an upload is resumable. Source: the SDK's uploads/file.ts, 94371840."""

CHUNK = 47 << 20
"""Bytes of one PATCH: below 50 MiB and a multiple of 256 KiB, as Pinata's pages and Cloudflare's ask."""

_SMALLEST = CHUNK // 4
_STEP = 256 * 1024
_PIECE = 256 * 1024
_VERSION = {"Tus-Resumable": "1.0.0"}
_TIMEOUT = (30.0, 300.0)
_UNSEEN_SECONDS = 60.0
"""How long a complete upload may be missing from the account ..."""
_PENDING_SECONDS = 600.0
"""... and its CID be pending."""
_RESTARTS = 2

OnUrl = Callable[[str], object]


def _untold(*_: object) -> None:
    """Whoever does not want to be told."""


def upload(
    api: PinataApi,
    path: str | os.PathLike[str],
    *,
    cid: str,
    name: str,
    keyvalues: Mapping[str, str],
    public: bool,
    url: str = "",
    on_url: OnUrl = _untold,
    progress: Progress = _untold,
) -> PinataFile:
    """Make a file with this CID, name and metadata in the account.

    Up to 90 MiB in one request, which begins again when it fails; above that resumable: `on_url` is told the
    address of the upload before its first byte is sent, and `url` continues there, also in another process. An
    address that the service has forgotten is no harm. `progress` is told (bytes sent, bytes in all).

    Raises:
        InvalidAssetError: the metadata is such that Pinata refuses it; nothing was sent.
        IntegrityError: the service computed another CID.
        StorageError: the file cannot be read, is too large for Pinata, or changed meanwhile.
        Unavailable: it did not work now; it may later. `url` continues it.
        Refused: the service said no.
    """
    wanted = _Wanted(api, cid, name, dict(keyvalues), public)
    made: PinataFile | None = None
    duplicate = False
    with SteadyFile(path) as file:
        check(file.size, keyvalues, name)
        try:
            if url or file.size > TUS_ABOVE:
                made = _resumable(wanted, file, url, on_url, progress)
            else:
                made, duplicate = _at_once(wanted, file, progress)
        except Stopped as stopped:
            if stopped.error is not None:
                raise stopped.error from None
        if made is None or (file.changed and made.cid != cid):
            gone = "" if made is None else f" {wanted.undo(made, duplicate)}"
            raise StorageError(f"{file.path!r} changed while it was uploaded: add it again.{gone}")
    return wanted.corrected(made, duplicate)


@attrs.frozen
class _Wanted:
    """The record that is to be in the account."""

    api: PinataApi
    cid: str
    name: str
    keyvalues: dict[str, str]
    public: bool

    @property
    def fields(self) -> dict[str, str]:
        """Beside the file. Omitting the network would mean private, by Pinata's leave; so it is said.

        Source: the SDK's uploads/file.ts and its tests: keyvalues are flat JSON, not wrapped as on
        docs.pinata.cloud/files/key-values.
        """
        said = {"network": network_of(self.public), "cid_version": "v1"}
        return {**said, "keyvalues": json.dumps(self.keyvalues)} if self.keyvalues else said

    @property
    def mime_type(self) -> str:
        """Guessed from the name."""
        return mimetypes.guess_type(self.name, strict=False)[0] or "application/octet-stream"

    def listed(self, cid: str = "") -> PinataFile | None:
        """The newest record that is the wanted one, or one of that name whose metadata was lost on the way."""
        listed = self.api.files(public=self.public, cid=cid or self.cid)
        files = [file for file in listed if file.name == self.name]
        same = [file for file in files if file.keyvalues == self.keyvalues]
        bare = [file for file in files if not file.keyvalues]
        return max(same or bare, key=lambda file: file.created_at, default=None)

    def found(self, id: str, cid: str = "") -> PinataFile:
        """The record of a complete upload once its CID is known: by the id, or else by the CID."""
        waited, delay, limit = 0.0, 0.5, _UNSEEN_SECONDS
        while True:
            file = self._by_id(id) or self.listed(cid)
            if file is not None and file.cid != PENDING:
                return file
            if file is not None:
                limit = _PENDING_SECONDS
            if waited >= limit:
                state = "does not show it" if file is None else f"has not computed the CID of {file.id!r}"
                raise Unavailable(
                    f"{self.name!r} ({self.cid}) was sent, but Pinata {state} yet: try again later"
                )
            self.api.sleep(delay)
            waited += delay
            delay = min(2 * delay, 15.0)

    def _by_id(self, id: str) -> PinataFile | None:
        try:
            return self.api.file(id, public=self.public)
        except Refused as refused:
            if refused.status in (400, 422):  # an upload's id need not have the form of a file's
                return None
            raise

    def corrected(self, made: PinataFile, duplicate: bool) -> PinataFile:
        """The record that came of an upload, with the metadata that it was to have."""
        if made.cid != self.cid:
            raise IntegrityError(
                f"{self.name!r} is {self.cid} here, but Pinata stored it as {made.cid}: the bytes were damaged "
                f"on the way, or Pinata's layout is another one. {self.undo(made, duplicate)}"
            )
        if made.public is not self.public:
            raise Refused(
                f"{self.name!r} was to be {network_of(self.public)}, but Pinata made it {network_of(made.public)}. "
                f"{self.undo(made, duplicate)}"
            )
        if made.keyvalues == self.keyvalues:
            return made
        if duplicate and made.keyvalues:
            raise Refused(
                f"Pinata has the bytes of {self.name!r} ({self.cid}) already, as {made.id!r} with other metadata, and "
                "makes no second record of them; that one was left as it is"
            )
        change: dict[str, str | None] = {**dict.fromkeys(made.keyvalues), **self.keyvalues}
        kept = self.api.update(made.id, public=self.public, keyvalues=change)
        if kept.keyvalues != self.keyvalues:
            raise Refused(
                f"Pinata does not keep the metadata of {self.name!r} ({self.cid}, {made.id!r}): "
                f"{self.keyvalues!r} became {dict(kept.keyvalues)!r}"
            )
        return kept

    def undo(self, made: PinataFile, duplicate: bool) -> str:
        """Remove an upload that is not what was asked, and say so."""
        if duplicate:
            return f"The record {made.id!r} was there before and was left as it is."
        try:
            self.api.delete(made.id, public=made.public)
        except (Refused, Unavailable):
            return (
                f"The wrong record, {made.id!r}, could not be deleted: delete it at https://app.pinata.cloud."
            )
        return f"The wrong record, {made.id!r}, was deleted."


def _at_once(wanted: _Wanted, file: SteadyFile, progress: Progress) -> tuple[PinataFile, bool]:
    """The record made by one request, and whether the service had such bytes before."""
    api, what = wanted.api, f"take the upload of {file.path!r}"
    backoff = api.backoff(what)
    while True:
        body, headers = _multipart(wanted, file, progress)
        try:
            answer = api.once(
                what, "POST", f"{api.uploads}/v3/files", headers=headers, data=body, timeout=_TIMEOUT
            )
            made, duplicate = _parsed(answer, wanted.public)
            return made if made.cid != PENDING else wanted.found(made.id), duplicate
        except SourceError as failure:
            lost = failure.status == 0 or failure.status >= 500  # it may be done, and only its answer be lost
            backoff.again(failure)
        if lost and (found := wanted.listed()) is not None:
            return found, False


def _parsed(answer: Answer, public: bool) -> tuple[PinataFile, bool]:
    data: Any = answer.document().get("data")
    try:
        return PinataFile.parse(data, public), data.get("is_duplicate") is True
    except ValueError as error:
        raise SourceError(f"its answer describes no file ({error})", passing=True) from None


def _resumable(wanted: _Wanted, file: SteadyFile, url: str, on_url: OnUrl, progress: Progress) -> PinataFile:
    metadata = {"filename": wanted.name, "filetype": wanted.mime_type, **wanted.fields}
    endpoint = f"{wanted.api.uploads}/v3/files"
    if origin(url) != origin(endpoint):
        url = ""
    for restart in range(_RESTARTS + 1):
        tus = TusUpload(wanted.api, endpoint, file, metadata, url=url, on_url=on_url, progress=progress)
        try:
            tus.run()
        except UploadGone as gone:
            found = wanted.listed()  # a finished upload is forgotten too
            if found is not None:
                return found
            if restart == _RESTARTS and gone.__cause__ is not None:
                raise gone.__cause__ from None
            url = ""
        else:
            return wanted.found(upload_id(tus.url), tus.cid if tus.cid != PENDING else "")
    raise Unavailable(
        f"Pinata cannot take the upload of {file.path!r} now: it keeps forgetting it. Try again later."
    )


class UploadGone(Exception):
    """The server does not know the upload (any more), or it is one of another file."""


class TusUpload:
    """One file's resumable upload, new or, if `url` is given, one that was begun before.

    The server is asked where to go on before every new attempt.

    Attributes:
        url: where it is; empty until it was made.
        cid: what the service said the file's CID is, if it did.

    Source: tus.io/protocols/resumable-upload 1.0.0; `upload-cid` from the SDK's uploads/file.ts.
    """

    def __init__(
        self,
        api: PinataApi,
        endpoint: str,
        file: SteadyFile,
        metadata: Mapping[str, str],
        *,
        url: str = "",
        on_url: OnUrl = _untold,
        progress: Progress = _untold,
    ) -> None:
        self.url, self.cid = url, ""
        self._api, self._endpoint, self._file, self._metadata = api, endpoint, file, metadata
        self._on_url, self._progress = on_url, progress
        self._chunk = CHUNK

    def run(self) -> None:
        """Send what the server does not have yet.

        Raises:
            UploadGone: there is no such upload.
            Unavailable, Refused: as every call.
            Stopped: the file got shorter, or whoever is told of the progress failed.
        """
        backoff = self._api.backoff(f"take the upload of {self._file.path!r}")
        offset: int | None = None
        best, cut_at = 0, -1
        while True:
            try:
                if not self.url:
                    offset = self._create()
                if offset is None:
                    offset = self._where()
                    if offset == cut_at:  # it keeps no part of a chunk: of smaller ones less is lost
                        self._chunk = max(_SMALLEST, self._chunk // 2)
                if offset >= best + _STEP or offset == self._file.size:
                    best = offset
                    backoff.progressed()
                self._progress(offset, self._file.size)
                if offset == self._file.size:
                    return
                cut_at = offset
                offset = self._send(offset)
                cut_at = -1
            except SourceError as failure:
                backoff.again(failure)
                offset = None
                if failure.status:
                    cut_at = -1

    def _create(self) -> int:
        pairs = [
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in self._metadata.items()
        ]
        headers = {**_VERSION, "Upload-Length": str(self._file.size), "Upload-Metadata": ",".join(pairs)}
        answer = self._api.once("begin an upload", "POST", self._endpoint, headers=headers, timeout=_TIMEOUT)
        location = answer.headers.get("Location", "")
        if not location:
            raise Refused("Pinata did not begin an upload: its answer does not say where", answer.status)
        self.url = self._own(urljoin(self._endpoint, location))
        self._on_url(self.url)
        return 0

    def _own(self, url: str) -> str:
        """The upload's URL, which behind a proxy often says http where https was asked."""
        asked, given = urlsplit(self._endpoint), urlsplit(url)
        if asked.scheme == "https" and given.scheme == "http" and given.hostname == asked.hostname:
            url = given._replace(scheme="https", netloc=asked.netloc).geturl()
        if origin(url) != origin(self._endpoint):
            raise Refused(
                f"Pinata wants the upload sent to {origin(url) or 'nowhere'}, "
                f"but its key is for {origin(self._endpoint)}"
            )
        return url

    def _where(self) -> int:
        answer = self._there("HEAD", {})
        length = answer.headers.get("Upload-Length", "")
        if length.isdecimal() and int(length) != self._file.size:
            raise UploadGone
        return self._offset(answer, 0)

    def _send(self, offset: int) -> int:
        end = min(self._file.size, (offset // self._chunk + 1) * self._chunk)
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        body = _Body(self._file, offset, end, self._progress)
        return self._offset(self._there("PATCH", headers, data=body), offset + 1)

    def _there(self, method: str, headers: Mapping[str, str], **parts: object) -> Answer:
        headers = {**_VERSION, **headers}
        try:
            answer = self._api.once(
                "take an upload", method, self.url, headers=headers, timeout=_TIMEOUT, **parts
            )
        except Refused as refused:
            if refused.status in (403, 404, 410):
                raise UploadGone from refused
            raise
        self.cid = answer.headers.get("upload-cid", "") or self.cid
        return answer

    def _offset(self, answer: Answer, least: int) -> int:
        text = answer.headers.get("Upload-Offset", "")
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= self._file.size:
            raise SourceError(f"it says the upload is at {text[:20]!r} of {self._file.size}", passing=True)
        return int(text)


def upload_id(url: str) -> str:
    """The last part of an upload's URL, which is the file's id as well. Source: the SDK's getFileIdFromUrl."""
    return urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]


# bodies of requests: read from the file by each attempt anew, in bounded memory. They are iterables of known length
# rather than requests-toolbelt's MultipartEncoder: that one is a stream, which a retry finds half read.


class Stopped(Exception):
    """A body cannot be read on, because of `error` or, if that is None, because the file got shorter.

    No OSError and no ValueError, which would be taken for the network's.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(str(error))
        self.error = error


class SteadyFile:
    """A file open for an upload, which must not change meanwhile.

    Raises:
        StorageError: it cannot be opened, or is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be read: {error.strerror}") from error
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.fd)
            raise StorageError(f"{self.path!r} is not a regular file: only files can be uploaded")
        self.size, self._written = status.st_size, status.st_mtime_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to it since it was opened."""
        status = os.fstat(self.fd)
        return (status.st_size, status.st_mtime_ns) != (self.size, self._written)


class _Body:
    """A range of a file, between a head and a tail."""

    def __init__(
        self, file: SteadyFile, start: int, end: int, progress: Progress, head: bytes = b"", tail: bytes = b""
    ) -> None:
        self._file, self._start, self._end, self._progress = file, start, end, progress
        self._head, self._tail = head, tail

    def __len__(self) -> int:
        return len(self._head) + self._end - self._start + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        at = self._start
        while at < self._end:
            try:
                piece = os.pread(self._file.fd, min(_PIECE, self._end - at), at)
            except OSError as error:
                raise Stopped(StorageError(f"{self._file.path!r} cannot be read: {error.strerror}")) from None
            if not piece:
                raise Stopped
            yield piece
            at += len(piece)
            try:
                self._progress(at, self._file.size)
            except Exception as error:
                raise Stopped(error) from None
        yield self._tail


def _multipart(wanted: _Wanted, file: SteadyFile, progress: Progress) -> tuple[_Body, dict[str, str]]:
    """A whole file and some fields as multipart/form-data, and the headers that say so.

    Source: RFC 7578, names escaped as browsers do.
    """
    boundary = f"stargazer-{secrets.token_hex(16)}"
    # a slash would make a folder of the upload
    name = wanted.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("/", "_")
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in {"name": wanted.name, **wanted.fields}.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {wanted.mime_type}\r\n\r\n"
    )
    body = _Body(file, 0, file.size, progress, head.encode(), f"\r\n--{boundary}--\r\n".encode())
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
