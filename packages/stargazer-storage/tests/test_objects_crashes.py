"""kill -9 at every step of keeping, linking and moving into quarantine: whole or absent, and a second try works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.storage.cid import compute_cid
from stargazer.storage.objects import Objects, StoredObject

CRASH = """
import os, signal, sys
from pathlib import Path
from stargazer.storage.cid import compute_cid
from stargazer.storage.objects import Objects

store, action, original = Objects(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

def prepare():
    path = store.work / "finished"
    path.unlink(missing_ok=True)
    path.write_bytes(original.read_bytes())
    cid = compute_cid(path)
    if action == "quarantine":
        store.keep(path, cid)
        return lambda: store.quarantine(cid)
    store.remove(cid)
    return (lambda: store.keep(path, cid)) if action == "keep" else (lambda: store.link(original))

for last in range(1, 1000):
    run = prepare()
    pid = os.fork()
    if pid == 0:
        count = 0
        def step(event, _):
            global count
            if event.startswith(("os.", "open", "fcntl.")):
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(step)
        run()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    cid = compute_cid(original)
    if store.stat(cid):
        store.verify(cid)
    elif action == "quarantine":
        assert list((store.root / "quarantine").iterdir())
    else:
        assert status, "acknowledged, and gone"
    if not status:
        break
print(last)
"""


@pytest.mark.parametrize(("action", "least"), [("keep", 5), ("link", 5), ("quarantine", 5)])
def test_a_crash_at_any_step_leaves_all_or_nothing(tmp_path: Path, action: str, least: int) -> None:
    store, original = Objects(tmp_path / "store"), tmp_path / "original"
    original.write_bytes(b"x" * 300_000)
    before = original.stat().st_mode, original.stat().st_mtime_ns

    child = subprocess.run(
        [sys.executable, "-c", CRASH, str(store.root), action, str(original)], capture_output=True, text=True
    )

    assert (child.returncode, child.stderr) == (0, "")
    assert int(child.stdout) > least  # so many crashes, then one that was left alone
    assert (original.stat().st_mode, original.stat().st_mtime_ns) == before
    cid = compute_cid(original)
    for found in store.scan():
        if isinstance(found, StoredObject):
            assert store.verify(found.cid) == found
        else:
            assert found.path.name.startswith(".new-"), found
    assert store.verify(store.link(original).cid).cid == cid
