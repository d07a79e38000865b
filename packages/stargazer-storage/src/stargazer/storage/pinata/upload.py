"""Uploads to Pinata: in one request or resumable (TUS), until the account has the record that was asked for."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import attrs
import urllib3
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.download.http import Progress, Refused, SourceError, Unavailable
from stargazer.storage.pinata.api import PENDING, Answer, PinataApi, PinataFile, network_of, origin

__all__ = ["CHUNK", "MAX_FILE_SIZE", "TUS_ABOVE", "Upload", "upload_id", "upload_url"]

MAX_FILE_SIZE = 25_000_000_000
"""Bytes of one file. Source: docs.pinata.cloud/account-management/limits, 25 GB."""

TUS_ABOVE = 90 << 20
"""Bytes above which an upload is resumable. Source: the SDK's uploads/file.ts, 94371840."""

CHUNK = 47 << 20
"""Bytes of one PATCH: below 50 MiB and a multiple of 256 KiB, as Pinata's pages and Cloudflare's ask."""

_SMALLEST = CHUNK // 4
_STEP = 256 * 1024
_PIECE = 256 * 1024
_VERSION = {"Tus-Resumable": "1.0.0"}
_GONE = (403, 404, 410)
"""The HTTP status of an upload that the server does not know (any more)."""
_TIMEOUT = (30.0, 300.0)
_UNSEEN_SECONDS = 60.0
"""How long a complete upload may be missing from the account ..."""
_PENDING_SECONDS = 600.0
"""... and its CID be pending."""
_RESTARTS = 2


def _untold(*_: object) -> None:
    """Whoever does not want to be told."""


def _printable(name: str) -> str:
    """A name as Pinata takes it: control characters, and what UTF-8 cannot hold, are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


@attrs.define
class Upload:
    """A file on its way to a record of the account with this CID, name and metadata.

    Up to 90 MiB it goes in one request, which begins again when it fails; above that resumably.

    Attributes:
        url: where a resumable upload was begun, also by another process: it goes on there. An address that the service
            has forgotten is no harm.
        on_url: told such an address before the first byte is sent.
        progress: told (bytes sent, bytes in all).
        fd, size: of the file while it is sent.
        said_cid: what the service says the CID is, once it does.
    """

    api: PinataApi
    path: str = attrs.field(converter=str)
    cid: str = attrs.field(kw_only=True)
    name: str = attrs.field(kw_only=True, converter=_printable)
    keyvalues: Mapping[str, str] = attrs.field(kw_only=True)
    public: bool = attrs.field(kw_only=True)
    url: str = ""
    on_url: Callable[[str], object] = _untold
    progress: Progress = _untold
    fd: int = attrs.field(default=-1, init=False)
    size: int = attrs.field(default=0, init=False)
    said_cid: str = attrs.field(default=PENDING, init=False)

    def run(self) -> PinataFile:
        """The record, made as it is to be.

        Raises:
            IntegrityError: the service computed another CID.
            StorageError: the file cannot be read, is too large for Pinata, or changed meanwhile.
            Unavailable: it did not work now; it may later. `url` continues it.
            Refused: the service said no.
        """
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be read: {error.strerror}") from error
        try:
            before = os.fstat(self.fd)
            self.size = before.st_size
            if not stat.S_ISREG(before.st_mode):
                raise StorageError(f"{self.path!r} is not a regular file: only files can be uploaded")
            if self.size > MAX_FILE_SIZE:
                raise StorageError(
                    f"{self.name!r} has {self.size:,} bytes, Pinata takes at most {MAX_FILE_SIZE:,}: "
                    "compress it, or split it into several files"
                )
            made = self._in_chunks() if self.url or self.size > TUS_ABOVE else self._whole()
            after = os.fstat(self.fd)
        except _Stopped as stopped:
            raise stopped.error from None
        finally:
            os.close(self.fd)
        if made.cid == PENDING:
            made = attrs.evolve(self._found(made.id), is_duplicate=made.is_duplicate)
        if made.cid == self.cid:
            return self._corrected(made)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise StorageError(f"{self._changed} {self._undo(made)}")
        raise IntegrityError(
            f"{self.name!r} is {self.cid} here, but Pinata stored it as {made.cid}: the bytes were damaged "
            f"on the way, or Pinata's layout is another one. {self._undo(made)}"
        )

    # what is in the account

    def _listed(self, cid: str) -> PinataFile | None:
        """The newest record that is the wanted one, or one of that name whose metadata was lost on the way."""
        files = [file for file in self.api.files(public=self.public, cid=cid) if file.name == self.name]
        same = [file for file in files if file.keyvalues == self.keyvalues]
        bare = [file for file in files if not file.keyvalues]
        return max(same or bare, key=lambda file: file.created_at, default=None)

    def _found(self, id: str) -> PinataFile:
        """The record of a complete upload once its CID is known: by the id, or else by the CID."""
        waited, delay = 0.0, 0.5
        while True:
            file = None
            try:
                file = self.api.file(id, public=self.public)
            except Refused as refused:
                if refused.status not in (400, 422):  # an upload's id need not have the form of a file's
                    raise
            file = file or self._listed(self.cid if self.said_cid == PENDING else self.said_cid)
            if file is not None and file.cid != PENDING:
                return file
            if waited >= (_PENDING_SECONDS if file else _UNSEEN_SECONDS):
                state = f"has not computed the CID of {file.id!r}" if file else "does not show it"
                raise Unavailable(
                    f"{self.name!r} ({self.cid}) was sent, but Pinata {state} yet: try again later"
                )
            self.api.sleep(delay)
            waited += delay
            delay = min(2 * delay, 15.0)

    def _corrected(self, made: PinataFile) -> PinataFile:
        """The record that came of an upload, with the metadata that it was to have."""
        if made.public is not self.public:
            raise Refused(
                f"{self.name!r} was to be {network_of(self.public)}, but Pinata made it {network_of(made.public)}. "
                f"{self._undo(made)}"
            )
        if made.keyvalues == self.keyvalues:
            return made
        if made.is_duplicate and made.keyvalues:
            raise Refused(
                f"Pinata has the bytes of {self.name!r} ({self.cid}) already, as {made.id!r} with other metadata, and "
                "makes no second record of them; that one was left as it is"
            )
        change = {**dict.fromkeys(made.keyvalues), **self.keyvalues}
        kept = self.api.update(made.id, public=self.public, keyvalues=change)
        if kept.keyvalues != self.keyvalues:
            raise Refused(
                f"Pinata does not keep the metadata of {self.name!r} ({self.cid}, {made.id!r}): "
                f"{self.keyvalues!r} became {dict(kept.keyvalues)!r}"
            )
        return kept

    def _undo(self, made: PinataFile) -> str:
        """Remove an upload that is not what was asked, and say so."""
        if made.is_duplicate:
            return f"The record {made.id!r} was there before and was left as it is."
        try:
            self.api.delete(made.id, public=made.public)
        except (Refused, Unavailable):
            return (
                f"The wrong record, {made.id!r}, could not be deleted: delete it at https://app.pinata.cloud."
            )
        return f"The wrong record, {made.id!r}, was deleted."

    # sending

    @property
    def _endpoint(self) -> str:
        return f"{self.api.uploads}/v3/files"

    @property
    def _what(self) -> str:
        return f"take the upload of {self.path!r}"

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: _Body | None = None) -> Answer:
        return self.api.once(self._what, method, url, headers, data=body, timeout=_TIMEOUT)

    @property
    def _changed(self) -> str:
        return f"{self.path!r} changed while it was uploaded: add it again."

    @property
    def _mime_type(self) -> str:
        return mimetypes.guess_type(self.name, strict=False)[0] or "application/octet-stream"

    @property
    def _fields(self) -> dict[str, str]:
        """Beside the file. Omitting the network would mean private, by Pinata's leave; so it is said.

        Source: the SDK's uploads/file.ts and its tests: keyvalues are flat JSON, not wrapped as on
        docs.pinata.cloud/files/key-values.
        """
        said = {"network": network_of(self.public), "cid_version": "v1"}
        return said | ({"keyvalues": json.dumps(dict(self.keyvalues))} if self.keyvalues else {})

    def _whole(self) -> PinataFile:
        """The record made by one request: the file and some fields as multipart/form-data."""
        mark = secrets.token_hex(16)  # where the file's bytes go
        filename = self.name.replace("/", "_")  # a slash would make a folder of the upload
        file = (filename, mark, self._mime_type)
        form, content_type = urllib3.encode_multipart_formdata(
            {"name": self.name, **self._fields, "file": file}
        )
        head, tail = form.split(mark.encode())
        body = _Body(self, 0, self.size, head, tail)
        backoff = self.api.backoff(self._what)
        while True:
            try:
                answer = self._once("POST", self._endpoint, {"Content-Type": content_type}, body)
                return answer.file(self.public)
            except SourceError as failure:
                backoff.again(failure)
                is_answer = 0 < failure.status < 500
            # it may be done, and only its answer be lost
            if not is_answer and (found := self._listed(self.cid)) is not None:
                return found

    def _in_chunks(self) -> PinataFile:
        """The record, its CID pending, of a resumable upload: gone on with, or begun anew where it was forgotten."""
        if origin(self.url) != origin(self._endpoint):
            self.url = ""
        restarts = 0
        while True:
            try:
                self._send_rest()
                return PinataFile(id=upload_id(self.url), cid=PENDING)
            except Refused as refused:
                if not self.url or refused.status not in _GONE:
                    raise
                if (found := self._listed(self.cid)) is not None:  # a finished upload is forgotten too
                    return found
                if restarts == _RESTARTS:
                    raise
            restarts += 1
            self.url = ""

    def _send_rest(self) -> None:
        """Send what the server does not have yet; it is asked where to go on before every new attempt.

        Source: tus.io/protocols/resumable-upload 1.0.0; `upload-cid` from the SDK's uploads/file.ts.
        """
        backoff = self.api.backoff(self._what)
        chunk = CHUNK
        offset: int | None = None
        best, cut_at = 0, -1
        while True:
            try:
                if not self.url:
                    offset = self._begin()
                if offset is None:
                    offset = self._offset_after("HEAD", 0, {})
                    if offset == cut_at:  # it keeps no part of a chunk: of smaller ones less is lost
                        chunk = max(_SMALLEST, chunk // 2)
                if offset >= best + _STEP or offset == self.size:
                    best = offset
                    backoff.progressed()
                self.progress(offset, self.size)
                if offset == self.size:
                    return
                body = _Body(self, offset, min(self.size, (offset // chunk + 1) * chunk))
                headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
                offset = self._offset_after("PATCH", offset + 1, headers, body)
            except SourceError as failure:
                backoff.again(failure)
                if failure.status:
                    cut_at = -1
                elif offset is not None:
                    cut_at = offset
                offset = None

    def _begin(self) -> int:
        """The offset of a new upload."""
        metadata = {"filename": self.name, "filetype": self._mime_type, **self._fields}
        pairs = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items()]
        headers = {**_VERSION, "Upload-Length": str(self.size), "Upload-Metadata": ",".join(pairs)}
        answer = self._once("POST", self._endpoint, headers)
        self.url = upload_url(self._endpoint, answer.headers.get("Location", ""))
        self.on_url(self.url)
        return 0

    def _offset_after(
        self, method: str, least: int, headers: Mapping[str, str], body: _Body | None = None
    ) -> int:
        """Where the upload is after a request of it.

        Raises:
            Refused: the server does not know the upload, or it is one of another file: its status is in _GONE.
        """
        answer = self._once(method, self.url, {**_VERSION, **headers}, body)
        length, at = (answer.headers.get(name, "") for name in ("Upload-Length", "Upload-Offset"))
        if length.isdecimal() and int(length) != self.size:
            raise Refused("Pinata has an upload of another file at this address", 410)
        if not (at.isascii() and at.isdecimal()) or not least <= int(at) <= self.size:
            raise SourceError(f"it says the upload is at {at[:20]!r} of {self.size}", passing=True)
        self.said_cid = answer.headers.get("upload-cid", self.said_cid)
        return int(at)


def upload_id(url: str) -> str:
    """The last part of an upload's URL, which is the file's id as well. Source: the SDK's getFileIdFromUrl."""
    return urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]


def upload_url(endpoint: str, location: str) -> str:
    """The URL of an upload that an endpoint answered with, which behind a proxy often says http where https was asked.

    Raises:
        Refused: it is none, or on another host.
    """
    url = urljoin(endpoint, location) if location else ""
    asked, given = urlsplit(endpoint), urlsplit(url)
    if asked.scheme == "https" and given.scheme == "http" and given.hostname == asked.hostname:
        url = given._replace(scheme="https", netloc=asked.netloc).geturl()
    if origin(url) != origin(endpoint):
        raise Refused(
            f"Pinata wants the upload sent to {origin(url) or 'nowhere'}, but its key is for {origin(endpoint)}"
        )
    return url


class _Stopped(Exception):
    """A body cannot be read on. No OSError and no ValueError, which would be taken for the network's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@attrs.frozen
class _Body:
    """A range of the file, between a head and a tail: read by each attempt anew, in bounded memory.

    An iterable of known length rather than requests-toolbelt's MultipartEncoder: that one is a stream, which a retry
    finds half read.
    """

    upload: Upload
    start: int
    end: int
    head: bytes = b""
    tail: bytes = b""

    def __len__(self) -> int:
        return len(self.head) + self.end - self.start + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        at = self.start
        while at < self.end:
            yield (piece := self._read(at))
            at += len(piece)
            try:
                self.upload.progress(at, self.upload.size)
            except Exception as error:
                raise _Stopped(error) from None
        yield self.tail

    def _read(self, at: int) -> bytes:
        try:
            piece = os.pread(self.upload.fd, min(_PIECE, self.end - at), at)
        except OSError as error:
            raise _Stopped(StorageError(f"{self.upload.path!r} cannot be read: {error.strerror}")) from None
        if not piece:
            raise _Stopped(StorageError(self.upload._changed))
        return piece
