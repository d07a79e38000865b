"""Files on their way from a page into the store: their bytes as they arrive, what is said of them, the registration.

Nothing here knows a notebook. A page sends messages, JSON with binary buffers, and is told in the same way what to send
next; the bytes lie in a private folder of the store, on its disk, until they are added, dropped, or the kernel ends.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin

import attrs
from stargazer import storage
from stargazer.assets import (
    REGISTRY,
    Asset,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageError,
    asset_class,
    hints_of,
    load_asset_types,
)
from stargazer.assets.keyvalues import fields_text, plain, plain_list
from stargazer.storage import Store
from stargazer.workflows._notices import notices
from stargazer.workflows.notebook.asset_table import OWN, pairs_of
from stargazer.workflows.report.numbers import memory
from stargazer.workflows.samplesheet.folder import named_reads

__all__ = ["CHUNK", "MOST_FILES", "Upload", "Uploads", "type_forms"]

CHUNK = 2 * 2**20
"""Bytes of one message: the next is sent when it is on the disk."""
MOST_FILES = 200
"""Files that are on their way, or wait to be added, at once."""
MOST_SIZE = 2**63
"""Bytes of a file that no disk has room for."""
MOST_NAME = 255
"""Bytes of a file's name that filesystems take."""
FORCE = " (`stargazer add --force` registers it all the same, and provenance says so)"

Message: TypeAlias = Mapping[str, Any]
State: TypeAlias = Literal["arriving", "ready", "refused"]


@attrs.define(eq=False)
class Upload:
    """A file that is on its way, or waits to be added.

    Attributes:
        key: by which the page calls it.
        name: its own, as the page says.
        size: bytes.
        path: where the bytes lie.
        page: whose it is: of another one nobody sends more bytes.
        received: bytes that are here.
        state: `refused`: it will not be taken as it is; `why` says what to do.
        kind: the asset type, empty where that is not known.
        fields: what is said of it, as text.
        others: keys of somebody's own, as `key=value` words.
        may_force: a check refused it, which can be overruled.
    """

    key: str
    name: str
    size: int
    path: Path
    page: str
    received: int = 0
    state: State = "arriving"
    why: str = ""
    kind: str = ""
    fields: dict[str, str] = attrs.field(factory=dict)
    others: str = ""
    may_force: bool = False
    is_ours: bool = True
    """It lies in the private folder, and goes when it is added or dropped."""


class Uploads:
    """The files of one page.

    Args:
        store: which they are added to.
        send: what tells the page something: `next`, from which byte on it shall send.
        changed: called when `shown` is another.
        paths: files of this machine may be named by path. Whoever sees the page can read any file of the user then.

    Attributes:
        files: those that are not added, by key.
        records: of those that were added, in their order.
        heard: how many messages came so far.
    """

    def __init__(
        self,
        store: Store,
        send: Callable[[dict[str, Any]], object],
        changed: Callable[[], object] = lambda: None,
        *,
        paths: bool = False,
    ) -> None:
        self.store = store
        self.files: dict[str, Upload] = {}
        self.records: list[IpFile] = []
        self.paths = paths
        self.heard = 0
        self._send, self._changed = send, changed
        self._added: list[dict[str, Any]] = []
        self._note = ""
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None
        self._is_closed = False

    # what the page says

    def receive(self, message: Message, buffers: Sequence[bytes | memoryview] = ()) -> None:
        """Take a message of the page; one that is not understood, or comes too late, is passed over."""
        if self._is_closed or not isinstance(message, Mapping):
            return
        self.heard += 1
        kind, key = str(message.get("kind")), str(message.get("key", ""))
        upload = self.files.get(key)
        if kind == "chunk":
            if upload is not None and upload.state == "arriving":
                self._take(upload, message.get("offset"), buffers)
            return
        if kind == "where":
            if upload is not None and upload.state == "arriving":
                self._send({"kind": "next", "key": key, "offset": upload.received})
            return
        self._note = ""
        if kind == "hello":
            self.leave(str(message.get("page", "")))
            return
        if kind == "offer":
            self._offer(str(message.get("page", "")), message.get("files"))
        elif kind == "unreadable" and upload is not None and upload.state == "arriving":
            self._refuse(upload, str(message.get("why", "")) or "the browser cannot read it")
        elif kind == "drop" and upload is not None:
            self._forget(upload)
        elif kind == "say" and upload is not None and upload.state == "ready":
            if not self._said(upload, message):
                return
        elif kind == "path" and self.paths:
            self._name(str(message.get("path", "")))
        elif kind == "note":
            self._note = str(message.get("text", ""))
        elif kind == "add":
            try:
                self._add(message)
            finally:  # the page waits for an answer
                self._changed()
            return
        self._changed()

    def leave(self, page: str = "") -> None:
        """Drop what was on its way from other pages than this one: they are closed, and nothing more comes."""
        left = [each for each in self.files.values() if each.state == "arriving" and each.page != page]
        for upload in left:
            self._forget(upload)
        if left:
            names = ", ".join(repr(upload.name) for upload in left[:3]) + (", ..." if len(left) > 3 else "")
            what = "The page was closed" if page else "The page was closed, or its connection broke,"
            self._note = f"{what} before {names} had arrived. Nothing of it was added: choose it again."
            self._changed()

    def close(self) -> None:
        """Remove what was not added; nothing is taken afterwards."""
        self._is_closed = True
        self.files.clear()
        self._stack.close()

    @property
    def shown(self) -> dict[str, Any]:
        """What the page shows, as JSON."""
        ready = {upload.path: upload for upload in self.files.values() if upload.state == "ready"}
        beside = storage.mates(list(ready)) | storage.primaries(list(ready))
        return {
            "files": [
                {
                    "key": upload.key,
                    "name": upload.name,
                    "size": upload.size,
                    "state": upload.state,
                    "why": upload.why,
                    "type": upload.kind,
                    "fields": dict(upload.fields),
                    "others": upload.others,
                    "force": upload.may_force,
                    "beside": ready[beside[upload.path]].name if upload.path in beside else "",
                    "hint": self._hint(upload, upload.path in beside),
                }
                for upload in self.files.values()
            ],
            "added": self._added[-MOST_FILES:],
            "note": self._note,
            "count": len(self.records),
            "heard": self.heard,  # what is as it was is no change, and the page waits for one
        }

    # bytes

    def _offer(self, page: str, files: Any) -> None:
        """Take files that are to come, where there is room for all of them."""
        offered = [
            (str(each["key"]), str(each["name"]), each["size"])
            for each in (files if isinstance(files, list) else [])
            if isinstance(each, Mapping) and each.keys() >= {"key", "name"} and _is_size(each.get("size"))
        ]
        if len(self.files) + len(offered) > MOST_FILES:
            self._note = (
                f"{len(offered)} files are more than the {MOST_FILES} that are taken at once: add some first, or use "
                "`stargazer add --samplesheet` on the machine that has them."
            )
            return
        for key, name, size in offered:
            upload = Upload(key, shown_name(name), size, Path(), page)
            if key in self.files:
                continue
            self.files[key] = upload
            if size <= 0:
                self._refuse(upload, f"{upload.name!r} is empty: choose the file that has the data")
                continue
            try:
                self._make_room(upload)
            except (StorageError, OSError) as error:
                told = error if isinstance(error, StorageError) else storage.refused(error, self.store.root)
                self._refuse(upload, str(told))
                continue
            self._send({"kind": "next", "key": key, "offset": 0})

    def _make_room(self, upload: Upload) -> None:
        """Give a file a path, if the disk has room for all that is still to come.

        Raises:
            StorageError: it has not, or cannot be written.
        """
        folder = self._private()
        # what arrives, and the copy of it that becomes the object
        others = sum(
            2 * each.size - each.received
            for each in self.files.values()
            if each is not upload and each.is_ours and each.state != "refused"
        )
        free = shutil.disk_usage(folder).free - others
        if 2 * upload.size > free:
            raise StorageError(
                f"{upload.name!r} has {memory(upload.size)}, and the disk of the store has room for "
                f"{memory(free // 2) if free > 1 else 'nothing more'}: free some space, or use a store on a "
                "larger disk (STARGAZER_LOCAL). Nothing was sent"
            )
        number, name = 0, file_name(upload.name)
        while (folder / str(number) / name).exists():
            number += 1
        (folder / str(number)).mkdir(exist_ok=True)
        upload.path = folder / str(number) / name
        upload.path.touch(mode=0o600)

    def _private(self) -> Path:
        """The folder of the bytes that are not added yet; what killed kernels left of theirs goes."""
        if self._folder is None:
            work = self.store.objects.work
            clear_abandoned(work)
            self._folder = self._stack.enter_context(storage.private_folder(work, "upload"))
        return self._folder

    def _take(self, upload: Upload, offset: Any, buffers: Sequence[bytes | memoryview]) -> None:
        """Write what has arrived, and ask for what comes next."""
        data = b"".join(bytes(buffer) for buffer in buffers)
        if offset != upload.received:
            return  # sent twice
        if not data or upload.received + len(data) > upload.size:
            self._refuse(upload, f"{upload.name!r} changed while it was read: choose it again")
            self._changed()
            return
        try:
            with open(upload.path, "ab", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
        except OSError as error:
            self._refuse(upload, str(storage.refused(error, self.store.root)))
            self._changed()
            return
        upload.received += len(data)
        if upload.received < upload.size:
            self._send({"kind": "next", "key": upload.key, "offset": upload.received})
            return
        self._arrived(upload)
        self._changed()

    def _arrived(self, upload: Upload) -> None:
        """Say what a file may be."""
        try:
            here = upload.path.stat().st_size
        except OSError as error:
            self._refuse(upload, str(storage.refused(error, self.store.root)))
            return
        if here != upload.size:
            self._refuse(
                upload, f"{upload.name!r} arrived with {here} bytes of {upload.size}: choose it again"
            )
            return
        upload.state = "ready"
        upload.kind = proposed_type(upload.path)
        upload.fields = proposed_fields(upload.path, upload.kind, self.store)

    def _name(self, path: str) -> None:
        """Take a file of this machine, which is read when it is added."""
        text = path.strip()
        found = Path(os.path.abspath(os.path.expanduser(text)))
        try:
            if not text or not found.exists():
                self._note = f"no such file on the machine where the notebook runs: {text!r}"
                return
            if found.is_dir():
                self._note = (
                    f"{text!r} is a folder: give the files in it, or use `stargazer add` for a folder"
                )
                return
            size = found.stat().st_size
        except (OSError, ValueError) as error:
            self._note = f"{text!r} cannot be read: {error}"
            return
        if any(each.path == found for each in self.files.values()):
            self._note = f"{text!r} is in the list already"
            return
        key = f"path-{time.monotonic_ns()}"
        upload = Upload(key, found.name, size, found, "", received=size, is_ours=False)
        self.files[key] = upload
        self._arrived(upload)

    def _refuse(self, upload: Upload, why: str) -> None:
        """Take no more of a file, and say why; what had arrived of it goes."""
        upload.state, upload.why = "refused", why
        self._remove(upload)

    def _forget(self, upload: Upload) -> None:
        self.files.pop(upload.key, None)
        self._remove(upload)

    def _remove(self, upload: Upload) -> None:
        if upload.is_ours and upload.path.name:
            with contextlib.suppress(OSError):
                upload.path.unlink(missing_ok=True)
        upload.path = Path()  # the next file of this name lies there

    # what files are

    def _said(self, upload: Upload, message: Message) -> bool:
        """Note what is said of a file; whether the page is to show something else."""
        kind = str(message.get("type", upload.kind))
        said = mapping(message.get("fields"))
        fields = {str(key): str(value) for key, value in said.items() if value and key not in OWN}
        is_other = kind != upload.kind
        upload.fields, upload.kind, upload.others = fields, kind, str(message.get("others") or "")
        if is_other and kind:
            known = asset_class(kind).fields() if kind in REGISTRY else {}
            upload.fields = proposed_fields(upload.path, kind, self.store) | {
                key: value for key, value in fields.items() if key in known
            }
            upload.others = ""
            upload.why, upload.may_force = "", False
        return is_other

    def _hint(self, upload: Upload, has_target: bool) -> str:
        """What is still to be done before a file can be added."""
        if upload.state != "ready" or upload.why:
            return ""
        if not upload.kind:
            return "Its name does not tell what it is: choose its type."
        if upload.kind == "r2" and not has_target and not upload.fields.get("r1_cid"):
            return (
                "Its first reads (R1) are not in this list: choose them too, so that they are linked, or give the CID "
                "of first reads that are in the store."
            )
        return ""

    def _add(self, message: Message) -> None:
        """Register files: those that go together all or none."""
        wanted = mapping(message.get("files"))
        forced = set()
        for key, said in wanted.items():
            if (upload := self.files.get(key)) is not None and upload.state == "ready":
                self._said(upload, mapping(said))
                if mapping(said).get("force") and upload.may_force:
                    forced.add(upload.path)
        public = bool(message.get("public")) if self.store.remote is not None else None
        ready = [self.files[key] for key in wanted if key in self.files and self.files[key].state == "ready"]
        failed: Exception | None = None
        for group in together(ready):
            try:
                self._register(group, forced, public)
            except Exception as error:
                self._refused(group, "Stargazer failed at this; the terminal of the notebook says how.")
                failed = error
        if failed is not None:
            raise failed

    def _register(self, group: Sequence[Upload], forced: Collection[Path], public: bool | None) -> None:
        by_path = {upload.path: upload for upload in group}
        began = storage.now()
        unchecked: list[str] = []
        for upload in group:
            upload.why, upload.may_force = "", False
        try:
            for upload in group:
                if not upload.kind:
                    raise InvalidAssetError(f"{str(upload.path)!r}: choose its type")
            said = {path: said_of(upload) for path, upload in by_path.items()}
            items = [
                attrs.evolve(
                    item, name=by_path[item.path].name, origin=by_path[item.path].name, public=public
                )
                for item in storage.additions_of_each(said, self.store, forced=forced)
            ]
            records = self.store.add(items, warn=unchecked.append)
        except StargazerError as error:
            self._refused(group, error.explain())
            return
        except OSError as error:
            self._refused(group, str(storage.refused(error, self.store.root)))
            return
        for record, upload in zip(records, group, strict=True):
            self._added.append(
                {
                    "name": record.name,
                    "type": record.keyvalues.get("asset", ""),
                    "what": fields_text(record.keyvalues),
                    "notes": [],
                }
            )
            self.records.append(record)
            self._forget(upload)
        self._added[-1]["notes"] = unchecked
        with contextlib.suppress(StargazerError):  # it is registered, whatever else cannot be read
            self._added[-1]["notes"] = [*unchecked, *notices(self.store, records, began)]

    def _refused(self, group: Sequence[Upload], why: str) -> None:
        """Say beside those files that it is about why they are not registered."""
        may_force = FORCE in why
        why = why.replace(FORCE, "")
        names = {id(each): (repr(str(each.path)), repr(each.path.name)) for each in group}
        about = [each for each in group if any(name in why for name in names[id(each)])] or list(group)
        if self._folder is not None:
            why = re.sub(re.escape(f"{self._folder}/") + r"\d+/", "", why)
        for upload in group:
            if upload in about:
                upload.why, upload.may_force = why, may_force
            else:
                upload.why = f"It goes with {about[0].name!r}, and is added together with it."


def said_of(upload: Upload) -> dict[str, str]:
    """What is said of a file, its type among it.

    Raises:
        InvalidAssetError: what is written as keys of somebody's own is none.
    """
    fields = {key: value for key, value in upload.fields.items() if value}
    try:
        others = pairs_of(upload.others, asset_class(upload.kind).fields())
    except InvalidAssetError as error:
        raise InvalidAssetError(f"{str(upload.path)!r}: {error}") from None
    return {"asset": upload.kind, **fields, **others}


def together(uploads: Sequence[Upload]) -> list[list[Upload]]:
    """Files in groups that are linked: mates, and an index with its file; references first, which others name."""
    of_path = {upload.path: [upload] for upload in uploads}
    for path, target in (storage.mates(list(of_path)) | storage.primaries(list(of_path))).items():
        one, other = of_path[target], of_path[path]
        if one is not other:
            one += other
            for upload in other:
                of_path[upload.path] = one
    groups = list({id(group): group for group in of_path.values()}.values())
    return sorted(groups, key=lambda group: all(each.kind != "reference" for each in group))


def proposed_type(path: Path) -> str:
    """The asset type that a file's name tells, `file` where no type's files are called so; empty in doubt."""
    try:
        return storage.guess_type(path.name)
    except storage.UnknownNameError:
        return "file"
    except InvalidAssetError:
        return storage.companion_type(path.name) or ""


def proposed_fields(path: Path, kind: str, store: Store) -> dict[str, str]:
    """What the name and the header of a file tell of it, as text that people can change."""
    if not kind or kind not in REGISTRY:
        return {}
    known = asset_class(kind).fields()
    found: dict[str, str] = {}
    if kind in ("r1", "r2"):
        pairs = zip(*storage.names_of_mates(path.name), strict=True)
        alike = "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        sample, lane = named_reads(path.name, alike)
        found = {"sample": sample, "lane": lane}
    elif "name" in known:
        found = {"name": path.name.partition(".")[0]}
    elif kind in ("tenx_h5", "reference"):
        found = {"build" if kind == "reference" else "sample": path.name.partition(".")[0]}
    for key, value in storage.fields_in(path, kind, store).items():
        found[key] = plain_list(value)
    return {key: value for key, value in found.items() if value not in ("", "[]")}


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value < MOST_SIZE


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of a message; empty where the page sent something else."""
    return value if isinstance(value, Mapping) else {}


def type_forms() -> dict[str, Any]:
    """The asset types that a file can be added as, each with its fields, for a form."""
    load_asset_types()
    return {
        key: {
            "about": (cls.__doc__ or "").strip().partition("\n")[0],
            "free": cls.free_keys,
            "fields": [
                {
                    "name": name,
                    "needed": field.default is attrs.NOTHING,
                    "link": cls.links()[name].target.asset_key if name in cls.links() else "",
                    "choices": choices_of(hints_of(cls)[name]),
                    "default": default_of(cls, name),
                }
                for name, field in cls.fields().items()
            ],
        }
        for key, cls in sorted(REGISTRY.items())
        if key != "provenance"
    }


def choices_of(hint: Any) -> list[str]:
    """The values that a field takes, where they are few."""
    kind = plain(hint)
    if kind is bool:
        return ["false", "true"]
    return [str(value) for value in get_args(kind)] if get_origin(kind) is Literal else []


def default_of(cls: type[Asset], name: str) -> str:
    """What a field has where nothing is said, as text."""
    default = cls.fields()[name].default
    if default in (None, attrs.NOTHING) or not isinstance(default, str | bool | int | float):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def shown_name(name: str) -> str:
    """The last part of a name that a page gives, without what cannot be seen; never empty."""
    base = name.replace("\\", "/").rpartition("/")[2]
    base = "".join(
        letter for letter in base if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    return base if base.strip(". ") else "file"


def file_name(name: str) -> str:
    """A name that filesystems take: one that is too long keeps its beginning and its end, which tells the type."""
    data = name.encode()
    if len(data) <= MOST_NAME:
        return name
    return data[:100].decode(errors="ignore") + "..." + data[-100:].decode(errors="ignore")


def clear_abandoned(work: Path) -> None:
    """Remove what killed kernels left of uploads: nobody holds its lock any more."""
    for lock in work.glob("upload-*.lock"):
        if not storage.is_locked(lock):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
