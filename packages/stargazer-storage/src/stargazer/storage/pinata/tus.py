"""A resumable upload: TUS 1.0, which asks the server where to go on before every new attempt."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

from stargazer.storage.pinata.multipart import Progress, Slice, SteadyFile
from stargazer.storage.pinata.retrying import Passing, Refused
from stargazer.storage.pinata.service import Answer, Service, origin

__all__ = ["CHUNK", "TusUpload", "UploadGone", "upload_id"]

CHUNK = 47 << 20
"""Bytes of one PATCH: below 50 MiB and a multiple of 256 KiB, as Pinata's pages and Cloudflare's ask."""

_SMALLEST = CHUNK // 4
_STEP = 256 * 1024
_TIMEOUT = (30.0, 300.0)
_VERSION = {"Tus-Resumable": "1.0.0"}


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
        service: Service,
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
        self._service, self._file, self._metadata = service, file, metadata
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
        backoff = self._service.backoff(f"take the upload of {self._file.path!r}")
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
            except Passing as failure:
                backoff.again(failure)
                offset = None
                if failure.status:
                    cut_at = -1

    def _create(self) -> int:
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in self._metadata.items()
        )
        headers = {**_VERSION, "Upload-Length": str(self._file.size), "Upload-Metadata": metadata}
        answer = self._service.once(
            "begin an upload", "POST", self._endpoint, headers=headers, timeout=_TIMEOUT
        )
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
            answer = self._service.once(
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
            raise Passing(f"it says the upload is at {text[:20]!r} of {self._file.size}")
        return int(text)


def upload_id(url: str) -> str:
    """The last part of an upload's URL, which is the file's id as well. Source: the SDK's getFileIdFromUrl."""
    return urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]
