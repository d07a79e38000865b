"""A large upload that is cut again and again, also by killing the process: the store's own push continues it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.storage.cid import compute_cid
from stargazer.storage.pinata import upload
from stargazer.storage.pinata.remote import push
from stargazer.storage.store import Addition

from .pinata_kills import address_of, open_machine

SIZE = 6_000_000
CHUNK = 4 << 20

CHILD = """
import json, os, signal, sys
from pathlib import Path
from {module} import open_machine
from stargazer.storage.pinata import upload
from stargazer.storage.pinata.remote import push
upload.TUS_ABOVE, upload.CHUNK, upload._SMALLEST = 100_000, {chunk}, {chunk} // 4
store, last = open_machine(Path(sys.argv[1]), json.loads(sys.argv[2])), int(sys.argv[3])
def progress(name, done, total):
    if done >= last > 0 and total > 100_000:
        os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps([item.error for item in push(store, progress=progress).left]))
"""


@pytest.fixture
def waiting(tmp_path, pinata_process):
    """A store whose large file could not be sent."""
    store = open_machine(tmp_path / "store", address_of(pinata_process))
    path = tmp_path / "large.txt"
    path.write_bytes(os.urandom(SIZE))
    pinata_process.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (record,) = store.add([Addition(path, QcReport(kind="large"))])
    pinata_process.start()
    assert len(store.outbox.waiting()) == 2
    return store, record


def test_cut_five_times_it_sends_hardly_more_than_the_file(waiting, pinata_process, monkeypatch):
    store, record = waiting
    for module, name, value in (
        (upload, "TUS_ABOVE", 100_000),
        (upload, "CHUNK", CHUNK),
        (upload, "_SMALLEST", CHUNK // 4),
    ):
        monkeypatch.setattr(module, name, value)
    pinata_process.fault("PATCH", times=5, cut_request=500_000)

    while push(store).left:
        pass

    assert [patch.status for patch in pinata_process.matching("PATCH")].count(0) == 5
    assert_complete(record, pinata_process)


def test_killed_five_times_it_sends_hardly_more_than_the_file(waiting, pinata_process):
    store, record = waiting
    code = CHILD.format(module="pinata_kills", chunk=CHUNK)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    for last in (700_000, 1_900_000, 2_500_000, 3_300_000, 5_100_000, 0):
        command = [sys.executable, "-c", code, str(store.root), json.dumps(address_of(pinata_process))]
        done = subprocess.run([*command, str(last)], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == (-9 if last else 0), done.stderr
        pinata_process.end_uploads()

    assert json.loads(done.stdout) == []
    assert store.outbox.waiting() == []
    assert_complete(record, pinata_process)


def assert_complete(record, pinata_process) -> None:
    """The file is there once, right, and was sent about once."""
    (file,) = [file for file in pinata_process.files if file["cid"] == record.cid]
    assert file["keyvalues"] == dict(record.keyvalues)
    blob = pinata_process.folder / "blobs" / record.cid
    assert compute_cid(blob) == record.cid
    assert len(pinata_process.matching("POST /v3/files$")) == 2  # the upload's beginning, the provenance
    assert SIZE <= pinata_process.received("PATCH") <= 1.05 * SIZE
