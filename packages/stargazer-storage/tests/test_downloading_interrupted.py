"""Downloads that nobody waits for any more: an event loop and a process go on at once, and what arrived stays."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.storage.cid import compute_cid
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.download.sources import Gateway
from stargazer.storage.objects import Objects
from stargazer.storage.threads import Interrupted, check_interrupted, in_thread, pause

from .download_host import Host, Request

SIZE = 12 << 20
PATIENCE = 20.0  # seconds; the server is silent for longer


def stall_half_way(request: Request) -> None:
    body = request.begin_rest()
    request.send(body[: SIZE // 2])
    request.host.stalled.wait(60)  # type: ignore[attr-defined]
    request.hang_up()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Gives half of a file, and then nothing until `stalled` is set."""
    content = bytes(range(256)) * (SIZE // 256)
    (tmp_path / "original").write_bytes(content)
    host = Host(content, script=[stall_half_way])
    host.stalled = threading.Event()  # type: ignore[attr-defined]
    yield host
    host.stalled.set()  # type: ignore[attr-defined]
    host.close()


FETCH = """
import asyncio, sys
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.threads import in_thread
from stargazer.storage.objects import Objects
from stargazer.storage.download.sources import Gateway
asyncio.run(in_thread(fetch_object, sys.argv[1], [Gateway(sys.argv[2])], Objects(sys.argv[3])))
"""


def test_ctrl_c_ends_the_process_and_the_next_one_continues(host, tmp_path):
    cid = compute_cid(tmp_path / "original")
    store = Objects(tmp_path / "store")
    part = store.new_temporary().with_name(f"{cid}.part")
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, cid, host.url, store.root], stderr=subprocess.PIPE
    )
    host.wait_until(lambda: part.exists() and part.stat().st_size == SIZE // 2)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)

    assert part.stat().st_size == SIZE // 2
    assert fetch_object(cid, [Gateway(host.url)], store).size == SIZE
    assert host.starts == [0, SIZE // 2]


def test_a_cancelled_call_goes_on_at_once_and_its_thread_gives_up_when_it_can(host, tmp_path):
    cid = compute_cid(tmp_path / "original")
    store = Objects(tmp_path / "store")
    part = store.new_temporary().with_name(f"{cid}.part")

    async def main() -> list[str]:
        call = asyncio.create_task(in_thread(fetch_object, cid, [Gateway(host.url)], store))
        while not (part.exists() and part.stat().st_size == SIZE // 2):
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, PATIENCE)
        return [thread.name for thread in threading.enumerate()]

    assert "stargazer-fetch_object" in asyncio.run(main())  # it still waits for the server
    host.stalled.set()
    host.wait_until(lambda: "stargazer-fetch_object" not in [thread.name for thread in threading.enumerate()])
    assert len(host.starts) == 1  # nobody was asked again
    assert part.stat().st_size == SIZE // 2


def test_a_result_an_error_and_the_context_come_back_from_the_thread():
    variable = contextvars.ContextVar("variable", default="unset")

    def work(answer: str) -> tuple[str, str]:
        check_interrupted()
        pause(0)
        if answer == "error":
            raise StorageError("refused")
        return answer, variable.get()

    async def main() -> tuple[str, str]:
        variable.set("set")
        with pytest.raises(StorageError, match="refused"):
            await in_thread(work, "error")
        return await in_thread(work, answer="found")

    assert asyncio.run(main()) == ("found", "set")


def test_a_pause_ends_with_the_interest_in_it():
    ended = threading.Event()

    def work() -> None:
        try:
            pause(600)
        except Interrupted:
            ended.set()

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_thread(work), 0.05)

    asyncio.run(main())
    assert ended.wait(PATIENCE)


def test_outside_of_such_a_thread_nothing_is_interrupted():
    began = time.monotonic()
    check_interrupted()
    pause(0.01)
    assert time.monotonic() > began
