"""The test equipment itself: a real TUS server behind a proxy that cuts, asked with plain requests."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
import requests

from .tus_server import CuttingProxy, TusServer

TUS = {"Tus-Resumable": "1.0.0"}
CONTENT = bytes(range(256)) * 8000


def create(url: str) -> str:
    fields = ",".join(f"{name} {base64.b64encode(b'a/b').decode()}" for name in ("filename", "filetype"))
    headers = {**TUS, "Upload-Length": str(len(CONTENT)), "Upload-Metadata": fields}
    return requests.post(url, headers=headers, timeout=30).headers["Location"]


def patch(url: str, offset: int) -> requests.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return requests.patch(url, data=CONTENT[offset:], headers=headers, timeout=30)


def settled_offset(url: str) -> int:
    """The offset once the server noticed that its client is gone."""
    last = -1
    while True:
        answer = requests.head(url, headers=TUS, timeout=30)
        offset = int(answer.headers.get("Upload-Offset", -1))
        if answer.ok and offset == last:
            return offset
        last = offset
        time.sleep(0.1)


@pytest.mark.parametrize("interrupt", [lambda server: None, lambda server: (server.kill(), server.start())])
def test_an_upload_goes_on_after_a_cut(tus: TusServer, interrupt: Callable[[TusServer], object]) -> None:
    with CuttingProxy(tus.port) as proxy:
        url = create(proxy.url("/v3/files"))
        assert url.startswith(proxy.url("/v3/files"))
        proxy.cut_after(1_000_000)
        with pytest.raises(requests.ConnectionError):
            patch(url, 0)
        settled_offset(url)  # tuspyserver forgets an offset if it is killed within a chunk
        interrupt(tus)
        arrived = settled_offset(url)

        answer = patch(url, arrived)

    assert arrived < 1_000_000
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert tus.content(url) == CONTENT
    assert list(tus.uploads().values()) == [len(CONTENT)]


def test_cuts_come_one_after_the_other(tus: TusServer) -> None:
    with CuttingProxy(tus.port) as proxy:
        url = create(tus.url).replace(tus.url, proxy.url("/v3/files"))
        proxy.cut_after(500_000, 500_000)
        for _ in range(2):
            with pytest.raises(requests.ConnectionError):
                patch(url, settled_offset(tus.url + "/" + url.rpartition("/")[2]))

        assert proxy.forwarded == 1_000_000
        assert requests.head(url, headers=TUS, timeout=30).status_code == 200
