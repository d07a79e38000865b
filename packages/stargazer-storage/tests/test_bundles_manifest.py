"""Manifests and locks of bundles: what is read back, and what is refused with the entry's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from stargazer.assets import AssetNotFoundError, FormatError, IntegrityError, InvalidAssetError
from stargazer.storage.bundles import find_bundle
from stargazer.storage.bundles._fetch import check_entries, select
from stargazer.storage.bundles.find import Lock
from stargazer.storage.bundles.manifest import LARGEST, BundleFile, dump, fill, parse

CID = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
ENTRY: dict[str, Any] = {
    "name": "x.fa",
    "size": 5,
    "cid": CID,
    "keyvalues": {"asset": "reference", "build": "b"},
}
MANIFEST: dict[str, Any] = {
    "stargazer": "bundle/1", "name": "small", "mirrors": ["{cid}"], "files": [ENTRY],
}  # fmt: skip
SHA256 = "ab" * 32


def manifest(**changes: Any) -> bytes:
    body = {**MANIFEST, **changes}
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def with_entry(**changes: Any) -> bytes:
    body = {**ENTRY, **changes}
    return manifest(files=[{key: value for key, value in body.items() if value is not None}])


def test_a_manifest_is_read_as_it_was_written() -> None:
    mate = {"name": "y.fq", "size": 0, "sha256": SHA256, "md5": "0" * 32, "keyvalues": {"asset": "r2", "sample": "S"},
            "mirrors": ["https://example.org/y.fq"], "links": {"r1_cid": "x.fa"}}  # fmt: skip
    data = manifest(description="Two\nlines: ☃", files=[ENTRY, mate], provenance=[CID])

    found = parse(data, remote=True)

    assert parse(dump(found), remote=True) == found
    assert json.loads(dump(found)) == json.loads(data)
    assert found.files[1].sums == {"sha256": SHA256, "md5": "0" * 32}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a bundle"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"1" * 10_000, "not JSON"),
        (b" " * (LARGEST + 1), "larger than"),
        (b'{"stargazer": "bundle/1", "stargazer": "bundle/1"}', "'stargazer' is there twice"),
        (manifest(stargazer="bundle/2"), "bundle/2"),
        (manifest(name=None), "cannot name a bundle"),
        (manifest(name="../x"), "cannot name a bundle"),
        (manifest(name=".x"), "cannot name a bundle"),
        (manifest(name="a" * 101), "cannot name a bundle"),
        (manifest(files=[]), "list of files"),
        (manifest(files=None), "list of files"),
        (manifest(extra=1), "unknown key 'extra'"),
        (manifest(files=[7]), "entry 1: expected an object"),
        (manifest(files=[ENTRY, ENTRY]), "two entries are named 'x.fa'"),
        (manifest(description="a\x1b[31m"), "control characters"),
        (manifest(provenance=["x"]), "'x' is not a CID"),
        (manifest(provenance=[CID, CID]), "twice"),
        (manifest(mirrors=["https://example.org/data"]), "needs {cid} or {name}"),
        (manifest(mirrors=["https://example.org/{sha256}"]), "{cid} or {name} in braces"),
        (manifest(mirrors=["https://me:secret@example.org/{cid}"]), "credentials"),
        (manifest(mirrors=["https://example.org/{cid}?X-Amz-Signature=secret"]), "secret in its query"),
        (manifest(mirrors=["https://example.org/{cid}?token=secret"]), "secret in its query"),
        (manifest(mirrors=["ftp://example.org/{cid}"]), "expected http, https or a path"),
        (manifest(mirrors=["https:///{cid}"]), "names no host"),
        (manifest(mirrors=["https://{cid}.example.org/"]), "names no host"),
        (manifest(mirrors=["https://[::1/{cid}"]), "not a URL"),
        (manifest(mirrors=[""]), "needs {cid} or {name}"),
        (manifest(mirrors="{cid}"), "expected a list"),
        (manifest(mirrors=["{cid}"] * 51), "expected a list of up to 50"),
    ],
)  # fmt: skip
def test_a_malformed_manifest_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(data, remote=True)
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../x"}, "without folders"),
        ({"name": "a/b"}, "without folders"),
        ({"name": "a\\b"}, "without folders"),
        ({"name": ".."}, "without folders"),
        ({"name": ""}, "without folders"),
        ({"name": "a\0b"}, "control characters"),
        ({"name": "a\nb"}, "control characters"),
        ({"name": "\ud800"}, "valid Unicode"),
        ({"name": "a" * 256}, "longer than 255"),
        ({"name": 5}, "expected text"),
        ({"size": -1}, "size is -1"),
        ({"size": 1 << 60}, "size is"),
        ({"size": 1.5}, "size is 1.5"),
        ({"size": True}, "size is True"),
        ({"size": None}, "size is None"),
        ({"cid": "bafkrei"}, "is not a CID"),
        ({"cid": 5}, "cid is 5, expected text"),
        ({"cid": "Qm"}, "is not a CID"),
        ({"cid": None}, "either a cid or a checksum"),
        ({"sha256": SHA256}, "either a cid or a checksum"),
        ({"cid": None, "sha256": "xyz"}, "64 hexadecimal digits"),
        ({"cid": None, "md5": SHA256}, "32 hexadecimal digits"),
        ({"mode": 1}, "unknown key 'mode'"),
        ({"keyvalues": None}, "object of text"),
        ({"keyvalues": {"build": "b"}}, "give them an asset"),
        ({"keyvalues": {"asset": "reference", "n": 5}}, "expected text"),
        ({"keyvalues": {"asset": "reference", "_x": "5"}}, "no metadata key"),
        ({"keyvalues": {"asset": "reference", "provenance_cid": CID}}, "by the store alone"),
        ({"keyvalues": {"asset": "provenance"}}, "belongs in provenance"),
        ({"keyvalues": {"asset": "a", **{f"k{n}": "" for n in range(10)}}}, "11 metadata pairs"),
        ({"links": {"r1_cid": "nowhere"}}, "which is no entry"),
        ({"links": {"r1_cid": "x.fa"}}, "points at itself"),
        ({"links": {"build": "x.fa"}}, "in keyvalues and in links"),
        ({"mirrors": ["file:///etc/passwd"]}, "in a manifest from a URL: refused"),
        ({"mirrors": ["FILE:///etc/passwd"]}, "in a manifest from a URL: refused"),
    ],
)  # fmt: skip
def test_a_malformed_entry_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(with_entry(**changes), remote=True)
    assert said in str(caught.value)
    assert "entry 1" in str(caught.value) or "entry 'x.fa'" in str(caught.value)


def test_a_cid_of_another_version_is_written_as_ours() -> None:
    found = parse(with_entry(cid="QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"), remote=True)
    assert found.files[0].cid == "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y"


def test_a_file_of_this_machine_is_a_mirror_in_a_manifest_of_this_machine_only() -> None:
    data = with_entry(mirrors=["file:///data/x.fa"])
    assert parse(data, remote=False).files[0].mirrors == ("file:///data/x.fa",)


@pytest.mark.parametrize(
    ("mirror", "place", "found"),
    [
        ("{cid}", "/media/usb/b.bundle.json", f"/media/usb/{CID}"),
        ("files/{name}", "/media/usb/b.bundle.json", "/media/usb/files/a b#.fa"),
        ("file:///d%20d/{name}", "/media/usb/b.bundle.json", "/d d/a b#.fa"),
        ("{cid}", "https://example.org/d/b.bundle.json", f"https://example.org/d/{CID}"),
        ("{name}", "https://example.org/d/b.bundle.json", "https://example.org/d/a%20b%23.fa"),
        ("/all/{cid}", "https://example.org/d/b.bundle.json", f"https://example.org/all/{CID}"),
        ("https://x.org/ipfs/{cid}", "/media/usb/b.bundle.json", f"https://x.org/ipfs/{CID}"),
        ("HTTPS://x.org/ipfs/{cid}", "/media/usb/b.bundle.json", f"HTTPS://x.org/ipfs/{CID}"),
        ("{cid}", "HTTPS://example.org/d/b.bundle.json", f"https://example.org/d/{CID}"),
        ("{cid}", "", ""),
    ],
)
def test_a_mirror_is_filled_in_relative_to_the_manifest(mirror: str, place: str, found: str) -> None:
    assert fill(mirror, place, cid=CID, name="a b#.fa") == found


@pytest.mark.parametrize("name", ["http:x", "//evil.org/x", "javascript:x", "?x", "#x", "a:b"])
def test_no_name_leads_to_another_host(name: str) -> None:
    found = fill("{name}", "https://example.org/d/b.bundle.json", cid=CID, name=name)
    assert found.startswith("https://example.org/d/")


def test_selection_brings_what_links_need() -> None:
    entries = [
        {"name": name, "size": 1, "md5": "0" * 32, "mirrors": ["https://example.org/x"],
         "keyvalues": {"asset": kind, "sample": "S"}, **extra}
        for name, kind, extra in [("1.fq", "r1", {}), ("2.fq", "r2", {"links": {"r1_cid": "1.fq"}}), ("3.fq", "r1", {})]
    ]  # fmt: skip
    found = parse(manifest(files=entries), remote=True)

    assert [entry.name for entry in select(found, {"asset": ["r2"]})] == ["1.fq", "2.fq"]
    assert [entry.name for entry in select(found, {"asset": ["r1"], "sample": ["S", "T"]})] == [
        "1.fq",
        "3.fq",
    ]
    with pytest.raises(AssetNotFoundError, match="sample=T; it has 'S'"):
        select(found, {"sample": ["T"]})


@pytest.mark.parametrize(
    ("keyvalues", "said"),
    [
        ({"asset": "nothing"}, "unknown asset type"),
        ({"asset": "reference"}, "needs build"),
        ({"asset": "reference", "build": "b", "smaple": "S"}, "unknown key"),
        ({"asset": "alignment", "sample": "S", "duplicates_marked": "perhaps"}, "true or false"),
    ],
)
def test_metadata_that_its_type_does_not_take_is_refused_by_name(
    keyvalues: dict[str, str], said: str
) -> None:
    found = parse(with_entry(keyvalues=keyvalues), remote=True)
    with pytest.raises(InvalidAssetError, match=f"entry 'x.fa': .*{said}"):
        check_entries(found.files)


PINNED = BundleFile(name="x.fa", size=5, cid=CID, sha256=SHA256, keyvalues={})


def test_a_lock_keeps_what_it_was_told(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "x.bundle.lock")

    lock.pin(PINNED)
    lock.pin(PINNED)

    assert lock.read() == {"x.fa": PINNED}
    assert json.loads(lock.path.read_bytes())["files"]["x.fa"] == {"cid": CID, "size": 5, "sha256": SHA256}
    with pytest.raises(IntegrityError, match=r"entry 'x.fa' is pinned as bafkreicys"):
        lock.pin(attrs.evolve(PINNED, cid=CID.replace("reicy", "reidy")))


def test_where_the_manifests_folder_is_gone_it_is_kept_in_the_store(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "gone" / "x.bundle.lock", tmp_path / "bundles" / "x.bundle.lock")

    lock.pin(PINNED)

    assert not lock.path.parent.exists()
    assert lock.read() == {"x.fa": PINNED}


def test_a_manifest_that_changed_since_it_was_locked_is_refused(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "x.bundle.lock")
    lock.pin(PINNED)
    same = parse(with_entry(cid=None, sha256=SHA256), remote=True)
    other = parse(with_entry(cid=None, sha256="cd" * 32), remote=True)

    assert lock.apply(same).files[0].cid == CID
    with pytest.raises(IntegrityError, match="another sha256 than the one that was verified"):
        lock.apply(other)


LOCK = b'{"stargazer": "bundle-lock/1", "files": {"x": {"cid": "y", "size": 1}}}'


@pytest.mark.parametrize("data", [b"", b"[]", b'{"stargazer": "bundle-lock/1"}', manifest(), LOCK])
def test_a_damaged_lock_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.bundle.lock"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"x\.bundle\.lock"):
        Lock(path).read()


def test_a_bundle_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match="no bundle, file or folder 'dmeo'"):
        find_bundle("dmeo", tmp_path)
    with pytest.raises(InvalidAssetError, match="no credentials"):
        find_bundle("https://me:secret@example.org/x.bundle.json", tmp_path)
    with pytest.raises(InvalidAssetError, match="http"):
        find_bundle("ftp://example.org/x.bundle.json", tmp_path)
