"""An upload from the file here to a record there that is what was asked: its CID, its network, its metadata."""

from __future__ import annotations

import json
import mimetypes
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.pinata.files import PENDING, PinataFile, network_of
from stargazer.storage.pinata.limits import check
from stargazer.storage.pinata.multipart import FileChanged, Multipart, Progress, SteadyFile, Stopped
from stargazer.storage.pinata.retrying import Passing, Refused, Unavailable
from stargazer.storage.pinata.service import origin
from stargazer.storage.pinata.tus import TusUpload, UploadGone, upload_id

if TYPE_CHECKING:
    from stargazer.storage.pinata.api import PinataApi

__all__ = ["TUS_ABOVE", "upload"]

TUS_ABOVE = 90 << 20
"""Bytes above which an upload is resumable. Source: the SDK's uploads/file.ts, 94371840."""

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
    backoff = api.service.backoff(what)
    fields = {"name": wanted.name, **wanted.fields()}
    while True:
        body = Multipart(file, wanted.name, _mime_type(wanted.name), fields, progress)
        try:
            answer = api.service.once(
                what,
                "POST",
                f"{api.service.uploads}/v3/files",
                headers={"Content-Type": body.content_type},
                data=body,
                timeout=_TIMEOUT,
            ).document()
            made = _parsed(answer, wanted.public)
            data = answer["data"]
            break
        except Passing as failure:
            lost = failure.maybe_done
            backoff.again(failure)
        if lost and (found := _listed(api, wanted, wanted.cid)) is not None:
            return found, False
    if made.cid == PENDING:
        made = _found(api, made.id, wanted, wanted.cid)
    return made, data.get("is_duplicate") is True


def _resumable(
    api: PinataApi,
    file: SteadyFile,
    wanted: _Wanted,
    url: str,
    on_url: Callable[[str], object] | None,
    progress: Progress | None,
) -> PinataFile:
    metadata = {"filename": wanted.name, "filetype": _mime_type(wanted.name), **wanted.fields()}
    endpoint = f"{api.service.uploads}/v3/files"
    if origin(url) != origin(endpoint):
        url = ""
    for restart in range(_RESTARTS + 1):
        tus = TusUpload(api.service, endpoint, file, metadata, url=url, on_url=on_url, progress=progress)
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
        api.service.sleep(delay)
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


def _parsed(answer: Mapping[str, object], public: bool) -> PinataFile:
    try:
        return PinataFile.parse(answer.get("data"), public)
    except ValueError as error:
        raise Passing(f"its answer describes no file ({error})") from None


def _mime_type(name: str) -> str:
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
