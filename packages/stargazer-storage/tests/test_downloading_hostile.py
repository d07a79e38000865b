"""Sources that mean harm: each is left within a stated time and number of bytes, and the next one is asked."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field
from stargazer.assets import StorageError
from stargazer.storage.cid import SumHasher
from stargazer.storage.download import fetch, http
from stargazer.storage.download.fetch import Assembly, Part, fetch_file, fetch_object, open_part
from stargazer.storage.download.http import Body, Patience, SourceError
from stargazer.storage.download.sources import Gateway, Mirror
from stargazer.storage.objects import Objects

from .download_host import Answer, Host, Request, status

SIZE = 300_000
CONTENT = random.Random(7).randbytes(SIZE)


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store")


@pytest.fixture
def cid(tmp_path: Path) -> str:
    from stargazer.storage.cid import compute_cid

    (tmp_path / "original").write_bytes(CONTENT)
    return compute_cid(tmp_path / "original")


@pytest.fixture
def hosts() -> Iterator[Callable[..., Host]]:
    running: list[Host] = []

    def start(then: Answer | None = None) -> Host:
        running.append(Host(CONTENT, then) if then else Host(CONTENT))
        return running[-1]

    yield start
    for host in running:
        host.close()


@define
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@define
class Cutting:
    """Gives so many bytes at once, after so many seconds, and breaks the connection; honours ranges."""

    clock: Clock
    count: int
    seconds: float
    opened: list[int] = field(factory=list)
    name: str = "the one that cuts"

    @contextlib.contextmanager
    def open(self, cid: str, offset: int) -> Iterator[Body]:
        self.opened.append(offset)
        yield Body(offset, SIZE, self.pieces(offset))

    def pieces(self, offset: int) -> Iterator[bytes]:
        self.clock.now += self.seconds
        yield CONTENT[offset : offset + self.count]
        if offset + self.count < SIZE:
            raise SourceError("broke the connection", passing=True)


def assembly(part: Part) -> Assembly[SumHasher]:
    """Of CONTENT; a source has 60 s, in which 4,096 bytes a second come."""

    def judge(hasher: SumHasher) -> None:
        assert hasher.finish(SIZE) == {"sha256": hashlib.sha256(CONTENT).hexdigest()}

    return Assembly(part, lambda fd: SumHasher(fd, ["sha256"]), judge, size=SIZE)


@pytest.mark.parametrize(
    ("count", "seconds", "most"), [(1, 59.0, 2), (1, 1.0, 60), (1000, 1.0, 60), (4095, 1, 60)]
)
def test_who_cuts_and_goes_on_too_slowly_has_a_budget_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, seconds: float, most: int
) -> None:
    monkeypatch.setattr(fetch, "pause", lambda seconds: None)
    clock = Clock()
    monkeypatch.setattr(http, "time", clock)
    bad, good = Cutting(clock, count, seconds), Cutting(clock, SIZE, 1.0)

    with open_part(tmp_path / "part") as part:
        assembly(part).bring([bad, good], "it could not be had")
        assert part.path.read_bytes() == CONTENT

    assert len(bad.opened) <= most
    assert good.opened == [count * len(bad.opened)]  # what came before is not asked for again


def test_who_cuts_and_is_fast_enough_is_asked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "pause", lambda seconds: None)
    clock = Clock()
    monkeypatch.setattr(http, "time", clock)
    only = Cutting(clock, 5000, 1.0)

    with open_part(tmp_path / "part") as part:
        assembly(part).bring([only], "it could not be had")

    assert len(only.opened) == SIZE / 5000


def test_alone_a_source_that_is_too_slow_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "pause", lambda seconds: None)
    clock = Clock()
    monkeypatch.setattr(http, "time", clock)

    with open_part(tmp_path / "part") as part:
        with pytest.raises(
            StorageError, match="it could not be had: the one that cuts is too slow: 20 bytes in 60 s"
        ):
            assembly(part).bring([Cutting(clock, 10, 30.0)], "it could not be had")
        assert part.size == 60  # two connections in each of three rounds; the next call goes on there


def drip(data: bytes) -> Callable[[Request], None]:
    """Send bytes one by one, slowly, until nobody listens."""

    def answer(request: Request) -> None:
        request.connection.settimeout(0.02)
        for byte in data:
            request.send(bytes([byte]))
            try:
                if not request.connection.recv(1):
                    return
            except TimeoutError:
                continue

    return answer


def dripping_body(request: Request) -> None:
    drip(request.begin_rest())(request)


def dripping_chunk_size(request: Request) -> None:
    request.begin(200, None, Transfer_Encoding="chunked")
    drip(b"0" * 1_000_000)(request)


def dripping_trailer(request: Request) -> None:
    request.begin(200, None, Transfer_Encoding="chunked")
    drip(b"0\r\n" + b"X: y\r\n" * 1_000_000)(request)


def dripping_header(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    drip(b"X-" + b"y" * 1_000_000)(request)


def dripping_status(request: Request) -> None:
    drip(b"HTTP/1.1 " + b"2" * 1_000_000)(request)


@pytest.mark.parametrize(
    "answer", [dripping_body, dripping_chunk_size, dripping_trailer, dripping_header, dripping_status]
)
def test_who_drips_is_left_for_the_next_source(
    hosts: Callable[..., Host], store: Objects, cid: str, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(http, "SPEED_SECONDS", 0.3)
    monkeypatch.setattr(http, "SILENT_SECONDS", 0.5)
    bad, good = hosts(answer), hosts()

    fetch_object(cid, [Mirror(f"{bad.url}/x"), Mirror(f"{good.url}/x")], store)

    assert store.path(cid).read_bytes() == CONTENT
    assert (len(bad.starts), len(good.starts)) == (1, 1)
    assert (0 < good.starts[0] <= bad.sent) == (answer is dripping_body)


def test_the_same_of_a_file_that_is_known_by_its_checksum(
    hosts: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SPEED_SECONDS", 0.3)
    bad, good = hosts(dripping_body), hosts()
    sums = {"sha256": hashlib.sha256(CONTENT).hexdigest()}

    with fetch_file(
        f"{bad.url}/x.bam", sums, tmp_path, lambda text: None, others=[f"{good.url}/y.bam"]
    ) as path:
        assert (path.name, path.read_bytes()) == ("x.bam", CONTENT)

    assert (len(bad.starts), len(good.starts)) == (1, 1)
    assert 0 < good.starts[0] <= bad.sent


def endless_line(head: bytes) -> Answer:
    def answer(request: Request) -> None:
        request.send(head)
        while True:
            request.send(b"1" * 65536)

    return answer


def endless_lines(head: bytes, line: bytes) -> Answer:
    def answer(request: Request) -> None:
        request.send(head)
        while True:
            request.send(line * 1000)

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(endless_line(b"HTTP/1.1 "), id="status"),
        pytest.param(endless_line(b"HTTP/1.1 200 OK\r\nX: "), id="header"),
        pytest.param(endless_lines(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers"),
        pytest.param(endless_lines(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="interim answers"),
        pytest.param(endless_line(CHUNKED), id="chunk size"),
        pytest.param(endless_line(CHUNKED + b"5;x="), id="chunk extension"),
        pytest.param(endless_line(CHUNKED + b"0\r\nX: "), id="trailer"),
        pytest.param(endless_lines(CHUNKED + b"0\r\n", b"X: y\r\n"), id="trailers"),
    ],
)
def test_what_never_ends_is_cut_after_a_number_of_bytes(
    hosts: Callable[..., Host], store: Objects, cid: str, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", Patience(attempts=1))
    bad = hosts(answer)
    tracemalloc.start()
    try:
        with pytest.raises(StorageError, match="broke the connection"):
            fetch_object(cid, [Gateway(bad.url)], store)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert bad.sent < 32 << 20  # what the sockets hold, too

    fetch_object(cid, [Gateway(bad.url), Gateway(hosts().url)], store)
    assert store.path(cid).read_bytes() == CONTENT


def endless(request: Request) -> None:
    request.begin(200, None, Connection="close")
    while True:
        request.send(b"\0" * 65536)


def endless_chunks(request: Request) -> None:
    request.begin(200, None, Transfer_Encoding="chunked")
    while True:
        request.send(b"10000\r\n" + b"\0" * 65536 + b"\r\n")


@pytest.mark.parametrize("answer", [endless, endless_chunks])
@pytest.mark.parametrize("known", [{"size": SIZE}, {"most": SIZE}, {"most": SIZE + 1000}, {}])
def test_a_body_without_a_size_is_bounded_by_what_is_known_of_the_file(
    hosts: Callable[..., Host],
    store: Objects,
    cid: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    known: dict[str, int],
) -> None:
    monkeypatch.setattr(fetch, "MOST_UNSAID", 1 << 20)
    bad, good = hosts(answer), hosts()

    with pytest.raises(StorageError, match=r"sends more than|gives no size"):
        fetch_object(cid, [Gateway(bad.url)], store, **known)  # type: ignore[arg-type]
    assert bad.sent < 32 << 20

    fetch_object(cid, [Gateway(bad.url), Gateway(good.url)], store, **known)  # type: ignore[arg-type]
    assert store.path(cid).read_bytes() == CONTENT


def test_an_offer_of_more_than_the_file_is_refused_before_a_byte(
    hosts: Callable[..., Host], store: Objects, cid: str
) -> None:
    def huge(request: Request) -> None:
        request.begin(200, 1 << 40)
        request.send(b"\0")

    with pytest.raises(
        StorageError, match=r"offers 1,099,511,627,776 bytes, more than the 300,000 that are taken"
    ):
        fetch_object(cid, [Gateway(hosts(huge).url)], store, most=SIZE)


def test_what_urllib3_logs_of_a_malformed_answer_has_no_secret(
    hosts: Callable[..., Host], store: Objects, cid: str, caplog: pytest.LogCaptureFixture
) -> None:
    def malformed(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno header at all\r\nX: y\r\n\r\n")

    caplog.set_level(logging.DEBUG)
    url = hosts(malformed).url.replace("://", "://me:hush@")
    with pytest.raises(StorageError):
        fetch_object(cid, [Mirror(f"{url}/x?token=hush"), Mirror("http://127.0.0.1:9/x?token=hush")], store)

    assert "hush" not in caplog.text


@pytest.mark.parametrize("code", [200, 206])
def test_right_answers_of_the_same_shape_are_taken(
    hosts: Callable[..., Host], store: Objects, cid: str, code: int
) -> None:
    def chunked(request: Request) -> None:
        request.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + CHUNKED)
        for at in range(0, SIZE, 1000):
            request.send(b"%x;note=1\r\n%b\r\n" % (len(CONTENT[at : at + 1000]), CONTENT[at : at + 1000]))
        request.send(b"0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n")

    fetch_object(
        cid,
        [Gateway(hosts(chunked if code == 200 else status(503)).url), Gateway(hosts().url)],
        store,
        most=SIZE,
    )
    assert store.path(cid).read_bytes() == CONTENT
