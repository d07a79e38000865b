"""Resumable uploads of the Pinata account: TUS 1.0 create, HEAD and PATCH, with the CID on the last answer only."""

from __future__ import annotations

import base64
import binascii
import collections
import json
import os
import re
import threading
import uuid
from pathlib import Path
from typing import Any

from .account import Account, Refusal, order_of
from .answers import Answer
from .http import Request

__all__ = ["TusUploads"]

TUS = {"Tus-Resumable": "1.0.0"}


class TusUploads:
    """Uploads below `folder`: the bytes in <id>.bin, the plan in <id>.json, which has the CID once it is done."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.folder = account.folder / "uploads"
        self._locks: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        for plan in self.folder.glob("*.json"):  # killed between the last byte and filing it
            upload, body = json.loads(plan.read_text() or "{}"), plan.with_suffix(".bin")
            is_open = "length" in upload and "cid" not in upload and plan.stem not in account.files
            if is_open and body.exists() and body.stat().st_size == upload["length"]:
                self._finish(plan.stem, upload)

    def create(self, request: Request, host: str, max_file: int) -> Answer:
        length = int(request.headers["upload-length"])
        if length > max_file:
            raise Refusal(413, f"a file has at most {max_file} bytes")
        fields = {}
        for pair in filter(None, request.headers.get("upload-metadata", "").split(",")):
            name, _, encoded = pair.strip().partition(" ")
            try:
                fields[name] = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise Refusal(400, f"Upload-Metadata: {name} is not base64") from None
        order = order_of({"name": fields.get("filename", ""), **fields})
        id = str(uuid.uuid4())
        body, plan = self._paths(id)
        body.touch()
        upload = {"length": length, "mime_type": fields.get("filetype", ""), **order}
        plan.write_text(json.dumps(upload))
        if length == 0:
            self._finish(id, upload)
        return Answer(201, {**TUS, "Location": f"{host}/v3/files/{id}"})

    def head(self, id: str) -> Answer:
        upload, offset = self._find(id)
        length = str(upload["length"])
        given = {"Upload-Offset": str(offset), "Upload-Length": length, "Cache-Control": "no-store"}
        return Answer(200, {**TUS, **given})

    def patch(self, request: Request, id: str) -> Answer:
        if request.headers.get("content-type") != "application/offset+octet-stream":
            raise Refusal(415, "Content-Type must be application/offset+octet-stream")
        lock = self._locks[id]
        if not lock.acquire(timeout=10):
            raise Refusal(423, "another request has this upload")
        try:
            return self._append(request, id)
        finally:
            lock.release()

    def expire(self) -> None:
        """Forget every upload."""
        for path in self.folder.iterdir():
            path.unlink()

    def _append(self, request: Request, id: str) -> Answer:
        upload, offset = self._find(id)
        if request.headers.get("upload-offset") != str(offset) or "cid" in upload:
            raise Refusal(409, f"Upload-Offset must be {offset}")
        if offset + (request.length or 0) > upload["length"]:
            raise Refusal(413, "more than Upload-Length")
        body, begun = self._paths(id)[0], offset
        try:
            with body.open("ab", buffering=0) as out:
                while piece := request.read():
                    offset += out.write(piece)
        except BaseException:
            if not self.account.keeps_partial:
                os.truncate(body, begun)
            raise
        headers = {**TUS, "Upload-Offset": str(offset)}
        if offset == upload["length"]:
            headers["upload-cid"] = self._finish(id, upload)
        return Answer(204, headers)

    def _finish(self, id: str, upload: dict[str, Any]) -> str:
        body, plan = self._paths(id)
        details = {name: value for name, value in upload.items() if name != "length"}
        file_id = str(uuid.uuid4()) if self.account.upload_ids_differ else id
        cid = str(self.account.keep(body, file_id, **details)["cid"])
        plan.write_text(json.dumps({**upload, "cid": cid}))
        return cid

    def _find(self, id: str) -> tuple[dict[str, Any], int]:
        body, plan = self._paths(id)
        if not re.fullmatch(r"[0-9a-f-]{36}", id) or not plan.exists():
            raise Refusal(404, "upload not found")
        upload = json.loads(plan.read_text())
        if "cid" in upload or id in self.account.files:  # killed between filing it and noting the CID
            return {"cid": "", **upload}, upload["length"]
        if not body.exists():
            raise Refusal(404, "upload not found")
        return upload, body.stat().st_size

    def _paths(self, id: str) -> tuple[Path, Path]:
        return self.folder / f"{id}.bin", self.folder / f"{id}.json"
