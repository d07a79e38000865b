"""Uploads to Pinata: in one request or resumable (TUS), until the account has the record that was asked for."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Self
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


@attrs.frozen
class _Wanted:
    """The record that is to be."""

    cid: str
    name: str
    keyvalues: dict[str, str]
    public: bool

    def fields(self) -> dict[str, str]:
        """Beside the file. Omitting the network would mean private, by Pinata's leave; so it is said.

        Source: the SDK's uploads/file.ts and its tests: keyvalues are flat JSON, not wrapped as on
        docs.pinata.cloud/files/key-values.
        """
        said = {"network": network_of(self.public), "cid_version": "v1"}
        return {**said, "keyvalues": json.dumps(self.keyvalues)} if self.keyvalues else said


def upload(
    api: PinataApi,
    path: str | os.PathLike[str],
    *,
    cid: str,
    name: str,
    keyvalues: Mapping[str, str],
    public: bool,
    url: str = "",
    on_url: Callable[[str], object] | None = None,
    progress: Progress | None = None,
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
    wanted = _Wanted(cid, name, dict(keyvalues), public)
    with SteadyFile(path) as file:
        check(file.size, keyvalues, name)
        try:
            if url or file.size > TUS_ABOVE:
                made, duplicate = _resumable(api, file, wanted, url, on_url, progress), False
            else:
                made, duplicate = _at_once(api, file, wanted, progress)
            changed = file.changed
        except FileChanged as trouble:
            if str(trouble):
                raise StorageError(f"{file.path!r} {trouble}") from None
            changed = True
            made = None
        except Stopped as stopped:
            raise stopped.error from None
        if made is None or (changed and made.cid != cid):
            gone = "" if made is None else f" {_undo(api, made, duplicate)}"
            raise StorageError(f"{file.path!r} changed while it was uploaded: add it again.{gone}")
    return _as_wanted(api, made, wanted, duplicate)


def _at_once(
    api: PinataApi, file: SteadyFile, wanted: _Wanted, progress: Progress | None
) -> tuple[PinataFile, bool]:
    """The record made by one request, and whether the service had such bytes before."""
    what = f"take the upload of {file.path!r}"
    backoff = api.backoff(what)
    fields = {"name": wanted.name, **wanted.fields()}
    while True:
        body = Multipart(file, wanted.name, _mime_type(wanted.name), fields, progress)
        try:
            answer = api.once(
                what,
                "POST",
                f"{api.uploads}/v3/files",
                headers={"Content-Type": body.content_type},
                data=body,
                timeout=_TIMEOUT,
            ).document()
            made = PinataFile.parse(answer.get("data"), wanted.public)
            break
        except ValueError as error:
            lost = True
            backoff.again(SourceError(f"its answer describes no file ({error})", passing=True))
        except SourceError as failure:
            lost = (
                failure.status == 0 or failure.status >= 500
            )  # it may be done, and only the answer was lost
            backoff.again(failure)
        if lost and (found := _listed(api, wanted, wanted.cid)) is not None:
            return found, False
    if made.cid == PENDING:
        made = _found(api, made.id, wanted, wanted.cid)
    return made, answer["data"].get("is_duplicate") is True


def _resumable(
    api: PinataApi,
    file: SteadyFile,
    wanted: _Wanted,
    url: str,
    on_url: Callable[[str], object] | None,
    progress: Progress | None,
) -> PinataFile:
    metadata = {"filename": wanted.name, "filetype": _mime_type(wanted.name), **wanted.fields()}
    endpoint = f"{api.uploads}/v3/files"
    if origin(url) != origin(endpoint):
        url = ""
    for restart in range(_RESTARTS + 1):
        tus = TusUpload(api, endpoint, file, metadata, url=url, on_url=on_url, progress=progress)
        try:
            tus.run()
        except UploadGone as gone:
            found = _listed(api, wanted, wanted.cid)  # a finished upload is forgotten too
            if found is not None:
                return found
            if restart == _RESTARTS:
                if gone.refused is not None:
                    raise gone.refused from None
                break
            url = ""
            continue
        return _found(api, upload_id(tus.url), wanted, tus.cid if tus.cid != PENDING else "")
    raise Unavailable(
        f"Pinata cannot take the upload of {file.path!r} now: it keeps forgetting it. Try again later."
    )


def _found(api: PinataApi, id: str, wanted: _Wanted, cid: str) -> PinataFile:
    """The record of a complete upload once its CID is known: by the id, or else by the CID."""
    waited, delay, limit = 0.0, 0.5, _UNSEEN_SECONDS
    while True:
        file = _by_id(api, id, wanted.public)
        if file is None:
            file = _listed(api, wanted, cid or wanted.cid)
        if file is not None and file.cid != PENDING:
            return file
        if file is not None:
            limit = _PENDING_SECONDS
        if waited >= limit:
            state = "does not show it" if file is None else f"has not computed the CID of {file.id!r}"
            raise Unavailable(
                f"{wanted.name!r} ({wanted.cid}) was sent, but Pinata {state} yet: try again later"
            )
        api.sleep(delay)
        waited += delay
        delay = min(2 * delay, 15.0)


def _by_id(api: PinataApi, id: str, public: bool) -> PinataFile | None:
    try:
        return api.file(id, public=public)
    except Refused as refused:
        if refused.status in (400, 422):  # an upload's id need not have the form of a file's
            return None
        raise


def _listed(api: PinataApi, wanted: _Wanted, cid: str) -> PinataFile | None:
    """The newest record that is the wanted one, or one of that name whose metadata was lost on the way."""
    files = [file for file in api.files(public=wanted.public, cid=cid) if file.name == wanted.name]
    same = [file for file in files if file.keyvalues == wanted.keyvalues]
    bare = [file for file in files if not file.keyvalues]
    return max(same or bare, key=lambda file: file.created_at, default=None)


def _as_wanted(api: PinataApi, made: PinataFile, wanted: _Wanted, duplicate: bool) -> PinataFile:
    if made.cid != wanted.cid:
        raise IntegrityError(
            f"{wanted.name!r} is {wanted.cid} here, but Pinata stored it as {made.cid}: the bytes were damaged "
            f"on the way, or Pinata's layout is another one. {_undo(api, made, duplicate)}"
        )
    if made.public is not wanted.public:
        raise Refused(
            f"{wanted.name!r} was to be {network_of(wanted.public)}, but Pinata made it {network_of(made.public)}. "
            f"{_undo(api, made, duplicate)}"
        )
    if made.keyvalues == wanted.keyvalues:
        return made
    if duplicate and made.keyvalues:
        raise Refused(
            f"Pinata has the bytes of {wanted.name!r} ({wanted.cid}) already, as {made.id!r} with other metadata, and "
            "makes no second record of them; that one was left as it is"
        )
    change: dict[str, str | None] = {**dict.fromkeys(made.keyvalues), **wanted.keyvalues}
    kept = api.update(made.id, public=wanted.public, keyvalues=change)
    if kept.keyvalues != wanted.keyvalues:
        raise Refused(
            f"Pinata does not keep the metadata of {wanted.name!r} ({wanted.cid}, {made.id!r}): "
            f"{dict(wanted.keyvalues)!r} became {dict(kept.keyvalues)!r}"
        )
    return kept


def _undo(api: PinataApi, made: PinataFile, duplicate: bool) -> str:
    """Remove an upload that is not what was asked, and say so."""
    if duplicate:
        return f"The record {made.id!r} was there before and was left as it is."
    try:
        api.delete(made.id, public=made.public)
    except (Refused, Unavailable):
        return f"The wrong record, {made.id!r}, could not be deleted: delete it at https://app.pinata.cloud."
    return f"The wrong record, {made.id!r}, was deleted."


def _mime_type(name: str) -> str:
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"


# resumable


class UploadGone(Exception):
    """The server does not know the upload (any more), or it is one of another file."""

    def __init__(self, refused: Refused | None = None) -> None:
        super().__init__("the upload is not there any more")
        self.refused = refused


class TusUpload:
    """One file's upload, new or, if `url` is given, one that was begun before.

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
        on_url: Callable[[str], object] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.url = url
        self.cid = ""
        self._api, self._file, self._metadata = api, file, metadata
        self._on_url, self._progress = on_url, progress
        self._endpoint = endpoint
        self._chunk = CHUNK

    def run(self) -> None:
        """Send what the server does not have yet.

        Raises:
            UploadGone: there is no such upload.
            Unavailable, Refused: as every call.
            FileChanged: the file got shorter.
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
                if self._progress is not None:
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
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in self._metadata.items()
        )
        headers = {**_VERSION, "Upload-Length": str(self._file.size), "Upload-Metadata": metadata}
        answer = self._api.once("begin an upload", "POST", self._endpoint, headers=headers, timeout=_TIMEOUT)
        location = answer.headers.get("Location", "")
        if not location:
            raise Refused("Pinata did not begin an upload: its answer does not say where", answer.status)
        self.url = self._own(urljoin(self._endpoint, location))
        if self._on_url is not None:
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
        body = Slice(self._file, offset, end - offset, self._progress)
        return self._offset(self._there("PATCH", headers, data=body), offset + 1)

    def _there(self, method: str, headers: Mapping[str, str], **parts: object) -> Answer:
        try:
            answer = self._api.once(
                "take an upload", method, self.url, headers={**_VERSION, **headers}, timeout=_TIMEOUT, **parts
            )
        except Refused as refused:
            if refused.status in (403, 404, 410):
                raise UploadGone(refused) from None
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


# what is sent: read from the file anew by each attempt, in bounded memory. Iterables of known length rather than
# requests-toolbelt's MultipartEncoder: that one is a stream, which a retry finds half read.


class FileChanged(Exception):
    """The file got shorter, or cannot be read any more; no OSError, which urllib3 would take for the network's."""


class Stopped(Exception):
    """Whoever is told of the progress failed; no OSError or ValueError, for the same reason."""

    def __init__(self, error: Exception) -> None:
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
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be read: {error.strerror}") from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise StorageError(f"{self.path!r} is not a regular file: only files can be uploaded")
        self.size = status.st_size
        self._written = status.st_mtime_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to it since it was opened."""
        status = os.fstat(self._fd)
        return (status.st_size, status.st_mtime_ns) != (self.size, self._written)

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """Its bytes from `start`.

        Raises:
            FileChanged: there are fewer than `length`.
        """
        end = start + length
        while start < end:
            try:
                piece = os.pread(self._fd, min(_PIECE, end - start), start)
            except OSError as error:
                raise FileChanged(f"cannot be read: {error.strerror}") from None
            if not piece:
                raise FileChanged
            start += len(piece)
            yield piece


class Slice:
    """A range of a file as a request's body."""

    def __init__(self, file: SteadyFile, start: int, length: int, progress: Progress | None = None) -> None:
        self._file, self._start, self._length, self._progress = file, start, length, progress

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        done = self._start
        for piece in self._file.pieces(self._start, self._length):
            yield piece
            done += len(piece)
            if self._progress is not None:
                try:
                    self._progress(done, self._file.size)
                except Exception as error:
                    raise Stopped(error) from None


class Multipart:
    """A whole file and some fields as multipart/form-data. Source: RFC 7578, names escaped as browsers do."""

    def __init__(
        self,
        file: SteadyFile,
        filename: str,
        mime_type: str,
        fields: Mapping[str, str],
        progress: Progress | None = None,
    ) -> None:
        self._boundary = f"stargazer-{secrets.token_hex(16)}"
        head = "".join(
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_escaped(filename)}"\r\n'
            f"Content-Type: {mime_type}\r\n\r\n"
        )
        self._head = head.encode()
        self._content = Slice(file, 0, file.size, progress)
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def __len__(self) -> int:
        return len(self._head) + len(self._content) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._content
        yield self._tail


def _escaped(filename: str) -> str:
    """A name within quotes; a slash would make a folder of the upload."""
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("/", "_")
