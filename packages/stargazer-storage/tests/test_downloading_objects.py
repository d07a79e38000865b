"""Objects by CID from sources that cut, lie, stall and err: right bytes or a readable error, and nothing between."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.cid import LEAF_SIZE, compute_cid
from stargazer.storage.download import fetch, http
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.download.http import Patience
from stargazer.storage.download.sources import Gateway, LocalFile, Mirror, Source
from stargazer.storage.objects import Objects

from .download_host import Answer, Host, Request, cut_after, status, whole

pytestmark = pytest.mark.usefixtures("impatient")

SIZE = 5 * (1 << 20) + 7
Hosts = Callable[..., Host]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Starts servers that end with the test."""
    made: list[Host] = []

    def start(content: bytes, then: Answer = whole, script: list[Answer] | None = None) -> Host:
        made.append(Host(content, then, script))
        return made[-1]

    yield start
    for host in made:
        host.close()


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store")


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def cid_of(content: bytes, folder: Path) -> str:
    (folder / "original").write_bytes(content)
    return compute_cid(folder / "original")


def left(store: Objects) -> list[str]:
    """What a download left in the store, objects aside."""
    return sorted(path.name for name in ("tmp", "work") for path in (store.root / name).glob("*"))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("size", [0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, SIZE])
def test_a_file_of_any_size_arrives(hosts: Hosts, store: Objects, tmp_path: Path, size: int) -> None:
    content = content_of(size)
    host, cid = hosts(content), cid_of(content, tmp_path)
    told: list[tuple[int, int | None]] = []

    found = fetch_object(
        cid, [Gateway(host.url)], store, progress=lambda done, total: told.append((done, total))
    )

    assert (found.cid, found.size) == (cid, size)
    assert store.path(cid).read_bytes() == content
    assert store.path(cid).stat().st_mode & 0o777 == 0o444
    assert host.paths == [f"/ipfs/{cid}"]
    assert told[-1:] == ([(size, size)] if size else [])
    assert left(store) == []


def test_what_is_here_needs_no_source(store: Objects, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"reads")
    added = store.add(tmp_path / "x")

    assert fetch_object(added.cid, [], store) == added


def test_without_a_source_the_error_says_so(store: Objects, tmp_path: Path) -> None:
    cid = cid_of(b"reads", tmp_path)
    with pytest.raises(StorageError, match=f"{cid} is not in the store .* no source"):
        fetch_object(cid, [], store)


def test_a_mirror_and_a_local_file_are_sources_too(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    one, two = content_of(1000), content_of(SIZE)
    (tmp_path / "two").write_bytes(two)

    fetch_object(cid_of(one, tmp_path), [Mirror(f"{hosts(one).url}/some/name?x=1")], store)
    fetch_object(cid_of(two, tmp_path), [LocalFile(tmp_path / "two")], store)

    assert store.path(cid_of(two, tmp_path)).read_bytes() == two


def test_a_cut_connection_is_continued_where_it_stopped(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    host = hosts(content, script=[cut_after(1 << 20)] * 5)

    fetch_object(cid_of(content, tmp_path), [Gateway(host.url)], store)

    assert host.sent == SIZE
    assert host.starts == [number << 20 for number in range(6)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 400_000), max_size=12), ranges=st.booleans(), seed=st.integers(0, 99))
def test_any_sequence_of_cuts_ends_in_the_right_bytes(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    content = content_of(900_000 + seed)
    cid, store = cid_of(content, folder), Objects(folder / "store")

    def without_ranges(answer: Answer) -> Answer:
        def from_the_start(request: Request) -> None:
            request.start = 0
            answer(request)

        return from_the_start

    answers = [cut_after(count) for count in cuts]
    host = Host(
        content,
        whole if ranges else without_ranges(whole),
        answers if ranges else [without_ranges(answer) for answer in answers],
    )
    try:
        for _ in range(len(cuts) + 1):  # each call gives up after a few attempts without progress
            try:
                fetch_object(cid, [Gateway(host.url)], store)
            except IntegrityError:
                raise
            except StorageError:
                continue
            break
    finally:
        host.close()

    assert store.path(cid).read_bytes() == content
    assert left(store) == []


def endless(request: Request) -> None:
    request.begin(200, None, Connection="close")
    request.hang_up()
    while True:
        request.send(b"\0" * 65536)


def truncated_chunks(request: Request) -> None:
    request.begin(200, None, Transfer_Encoding="chunked")
    request.send(b"10000\r\n" + request.host.content[:65536] + b"\r\n")
    request.hang_up()


def never_an_answer(request: Request) -> None:
    request.connection.recv(1)


def silent_body(request: Request) -> None:
    request.send(request.begin_rest()[:100])
    request.connection.recv(1)


def no_http(request: Request) -> None:
    request.wfile.write(b"220 ftp.example.org ready\r\n")
    request.hang_up()


def slow_body(request: Request) -> None:
    request.begin_rest()
    for byte in request.host.content:
        request.send(bytes([byte]))
        request.connection.settimeout(0.05)
        try:
            if not request.connection.recv(1):
                return
        except TimeoutError:
            continue


def slow_headers(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.wfile.write(b"X: y\r\n")
        threading.Event().wait(0.05)


def redirect(url: str, code: int = 302) -> Answer:
    return status(code, Location=url)


def other_part(request: Request) -> None:
    data = request.host.content[10:]
    request.begin(206, len(data), Content_Range=f"bytes 10-{len(request.host.content) - 1}/{SIZE}")
    request.send(data)


def compressed(request: Request) -> None:
    body = gzip.compress(request.host.content)
    request.begin(200, len(body), Content_Encoding="gzip")
    request.send(body)


def longer(request: Request) -> None:
    body = request.host.content + b"more"
    request.begin(200, len(body))
    request.send(body)


def longer_in_chunks(request: Request) -> None:
    body = request.host.content + b"more"
    request.begin(200, None, Transfer_Encoding="chunked")
    request.send(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")


PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
FAULTS: list[tuple[Answer, str]] = [
    (status(404), "404 Not Found"),
    (status(410), "410 Gone"),
    (status(451), "451"),
    (status(500, b"stack trace"), "500 Internal Server Error"),
    (status(429), "429 Too Many Requests"),
    (status(504), "504 Gateway Timeout"),
    (status(299), "299"),
    (status(200, PAGE), "an HTML page"),
    (status(200), "0 bytes"),
    (redirect("http://localhost.example/other"), "another site"),
    (redirect("http://127.0.0.1:1/other"), "another port"),
    (redirect("ftp://127.0.0.1/other"), "no http or https URL"),
    (redirect("http://user:pw@127.0.0.1/other"), "with credentials"),
    (redirect("/again"), "redirects more than"),
    (status(302), "redirects"),
    (other_part, "another part"),
    (compressed, "compressed"),
    (longer, "other bytes"),
    (longer_in_chunks, "other bytes"),
    (truncated_chunks, "broke the connection"),
    (cut_after(0), "broke the connection"),
    (no_http, "broke the connection"),
]


def named(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("answer", "said"), FAULTS, ids=named)
def test_what_is_wrong_is_said_and_the_next_source_asked(
    hosts: Hosts, store: Objects, tmp_path: Path, answer: Answer, said: str
) -> None:
    content = content_of(SIZE)
    bad, good, cid = hosts(content, answer), hosts(content), cid_of(content, tmp_path)

    with pytest.raises(StorageError) as raised:
        fetch_object(cid, [Gateway(bad.url)], store)
    assert cid in str(raised.value)
    assert bad.url in str(raised.value)
    assert said in str(raised.value)
    assert store.stat(cid) is None

    fetch_object(cid, [Gateway(bad.url), Gateway(good.url)], store)
    assert store.path(cid).read_bytes() == content
    assert left(store) == []


def test_without_a_size_the_disk_is_not_filled(
    hosts: Hosts, store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CHECK_ROOM", 1 << 20)
    monkeypatch.setattr(fetch, "RESERVE", 1 << 62)  # as if it were nearly full
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)

    with pytest.raises(StorageError, match=r"gives no size, and after .* bytes only .* are free"):
        fetch_object(cid, [Gateway(hosts(content, endless).url)], store)

    assert left(store) == []


@pytest.mark.parametrize("answer", [longer, longer_in_chunks, status(200, PAGE), endless], ids=named)
def test_where_the_size_is_certain_another_one_is_refused_at_once(
    hosts: Hosts, store: Objects, tmp_path: Path, answer: Answer
) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    bad = hosts(content, answer)

    with pytest.raises(StorageError, match=r"offers|sends more than") as raised:
        fetch_object(cid, [Gateway(bad.url)], store, size=SIZE)

    assert f"{SIZE:,}" in str(raised.value)
    assert left(store) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (slow_body, "is too slow"),
        (never_an_answer, "gave no answer in time"),
        (silent_body, "sent nothing"),
        (slow_headers, "gave no answer in time"),
    ],
    ids=named,
)
def test_who_is_slow_on_purpose_is_left(
    hosts: Hosts,
    store: Objects,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    said: str,
) -> None:
    monkeypatch.setattr(http, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(http, "SPEED_SECONDS", 1.0)
    monkeypatch.setattr(fetch, "MOST_CUTS", 1)
    monkeypatch.setattr(fetch, "PATIENCE", Patience(attempts=1))
    content = content_of(20_000)
    cid = cid_of(content, tmp_path)

    with pytest.raises(StorageError, match=said):
        fetch_object(cid, [Gateway(hosts(content, answer).url)], store)

    fetch_object(cid, [Gateway(hosts(content, answer).url), Gateway(hosts(content).url)], store)
    assert store.path(cid).read_bytes() == content


@pytest.mark.parametrize("at", [0, LEAF_SIZE, SIZE // 2, SIZE - 1])
def test_one_flipped_byte_is_refused_wherever_it_is(
    hosts: Hosts, store: Objects, tmp_path: Path, at: int
) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)

    with pytest.raises(IntegrityError, match=cid):
        fetch_object(cid, [Gateway(hosts(flipped(content, at)).url)], store)

    assert store.stat(cid) is None
    assert left(store) == []


def test_the_error_names_every_source_and_what_it_did(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    wrong, absent = hosts(flipped(content, 99)), hosts(content, status(404))
    sources: list[Source] = [
        Mirror(f"{wrong.url}/a.bam"),
        Gateway(absent.url),
        LocalFile(tmp_path / "nothing"),
        Mirror("http://127.0.0.1:9/b.bam"),
    ]

    with pytest.raises(IntegrityError) as raised:
        fetch_object(cid, sources, store)

    other = cid_of(flipped(content, 99), tmp_path)
    assert str(raised.value).splitlines() == [
        f"{cid} could not be fetched:",
        f"  {wrong.url}/a.bam gave other bytes: {SIZE:,} bytes that hash to {other}",
        f"  {absent.url} answered 404 Not Found",
        f"  {tmp_path / 'nothing'} cannot be read: no such file or directory",
        "  http://127.0.0.1:9/b.bam cannot be reached",
    ]


def test_secrets_are_in_no_error(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(100)
    host = hosts(content, status(403))
    moved = hosts(content, redirect("http://127.0.0.1:1/x?X-Signature=hush"))
    sources: list[Source] = [
        Mirror(f"{host.url.replace('://', '://me:hush@')}/a.bam?X-Signature=hush#hush"),
        Mirror("http://me:hush@127.0.0.1:9/a.bam;hush?X-Signature=hush"),
        Mirror("http://127.0.0.1:9/eyJhush12345.hush67890.hush/a.bam"),
        Mirror(f"{moved.url}/a?token=hush"),
        Gateway(host.url, "hush"),
    ]

    with pytest.raises(StorageError) as raised:
        fetch_object(cid_of(content, tmp_path), sources, store)

    error: BaseException | None = raised.value
    while error is not None:
        assert "hush" not in str(error) + repr(error) + repr(getattr(error, "__notes__", ""))
        error = error.__cause__ or error.__context__
    assert "hush" not in repr(sources)


def test_bytes_of_a_bad_source_do_not_spoil_a_good_one(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    bad = hosts(flipped(content, 5), status(503), [cut_after(1 << 20)])
    good = hosts(content)

    fetch_object(cid, [Gateway(bad.url), Gateway(good.url)], store)

    assert store.path(cid).read_bytes() == content
    files = [start for start, path in zip(good.starts, good.paths, strict=True) if "format" not in path]
    assert files == [1 << 20, 0]


def test_what_comes_back_after_a_while_is_asked_again(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    host = hosts(content, script=[status(503), status(429, Retry_After="0")])

    fetch_object(cid_of(content, tmp_path), [Gateway(host.url)], store)

    assert len(host.starts) == 3


def test_no_range_on_offer_means_from_the_start(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)

    def all_of_it(request: Request) -> None:
        request.start = 0
        whole(request)

    host = hosts(content, all_of_it, [cut_after(1 << 20)])

    fetch_object(cid_of(content, tmp_path), [Gateway(host.url)], store)

    assert host.sent == SIZE + (1 << 20)


def test_a_server_that_gives_less_than_the_rest_is_asked_on(
    hosts: Hosts, store: Objects, tmp_path: Path
) -> None:
    content = content_of(SIZE)

    def a_mebibyte(request: Request) -> None:
        data = content[request.start : request.start + (1 << 20)]
        end = request.start + len(data) - 1
        request.begin(206, len(data), Content_Range=f"bytes {request.start}-{end}/{SIZE}")
        request.send(data)

    host = hosts(content, a_mebibyte, [cut_after(1 << 20)])

    fetch_object(cid_of(content, tmp_path), [Gateway(host.url)], store)

    assert host.sent == SIZE


@pytest.mark.parametrize("extra", [b"", b"x"], ids=["complete", "too long"])
@pytest.mark.parametrize("size", [SIZE, None], ids=["size known", "size unknown"])
def test_a_part_from_before_may_be_complete_or_too_long(
    hosts: Hosts, store: Objects, tmp_path: Path, extra: bytes, size: int | None
) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    store.new_temporary().with_name(f"{cid}.part").write_bytes(content + extra)
    host = hosts(content)

    fetch_object(cid, [Gateway(host.url)], store, size=size)

    assert host.sent == (SIZE if extra else 0)
    assert store.path(cid).read_bytes() == content


@pytest.mark.parametrize("size", [100, SIZE])
def test_garbage_from_before_costs_one_more_try(
    hosts: Hosts, store: Objects, tmp_path: Path, size: int
) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    store.new_temporary().with_name(f"{cid}.part").write_bytes(bytes(size))

    fetch_object(cid, [Gateway(hosts(content).url)], store, size=SIZE)

    assert store.path(cid).read_bytes() == content


FETCH = """
import sys
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.objects import Objects
from stargazer.storage.download.sources import Gateway

print(fetch_object(sys.argv[1], [Gateway(sys.argv[2])], Objects(sys.argv[3])).cid)
"""


def test_a_killed_process_is_continued_by_the_next(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)

    def half(request: Request) -> None:
        request.send(request.begin_rest()[: 2 << 20])
        request.connection.recv(1)

    host = hosts(content, script=[half])
    process = subprocess.Popen([sys.executable, "-c", FETCH, cid, host.url, str(store.root)])
    part = store.root / "tmp" / f"{cid}.part"
    host.wait_until(lambda: part.exists() and part.stat().st_size == 2 << 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.stat(cid) is None

    fetch_object(cid, [Gateway(host.url)], store)

    assert store.path(cid).read_bytes() == content
    assert host.starts == [0, 2 << 20]
    assert left(store) == []


def test_two_processes_bring_it_once(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    released = threading.Event()

    def slowly(request: Request) -> None:
        body = request.begin_rest()
        request.send(body[:1000])
        released.wait(20)
        request.send(body[1000:])

    host = hosts(content, slowly)
    command = [sys.executable, "-c", FETCH, cid, host.url, str(store.root)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    host.wait_until(lambda: bool(host.starts))
    host.wait_until(lambda: sum(f"{cid}.part" in where for where in map(_open_files, both)) == 2)
    released.set()

    assert [process.communicate()[0].strip() for process in both] == [cid, cid]
    assert host.sent == SIZE
    assert left(store) == []


def _open_files(process: subprocess.Popen[str]) -> str:
    folder = Path(f"/proc/{process.pid}/fd")
    if not folder.exists():
        pytest.skip("no /proc here: cannot see who waits")
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the folder was read
            found.append(os.readlink(path))
    return " ".join(found)


def test_threads_bring_it_once(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid, host = cid_of(content, tmp_path), hosts(content)
    threads = [
        threading.Thread(target=fetch_object, args=(cid, [Gateway(host.url)], store)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.path(cid).read_bytes() == content
    assert host.sent == SIZE


FULL = (
    """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
"""
    + FETCH
)


def test_a_disk_that_takes_no_more_is_said_and_left_as_it_was(
    hosts: Hosts, store: Objects, tmp_path: Path
) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    command = [sys.executable, "-c", FULL, cid, hosts(content).url, str(store.root)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "StorageError" in done.stderr
    assert "the file is too large for this filesystem" in done.stderr
    assert store.stat(cid) is None
    assert left(store) == []


def test_a_full_disk_is_noticed_before_the_download(
    hosts: Hosts, store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.Part, "room", property(lambda self: 1000))
    content = content_of(SIZE)
    cid, host = cid_of(content, tmp_path), hosts(content)

    with pytest.raises(StorageError, match="the disk is full"):
        fetch_object(cid, [Gateway(host.url)], store, size=SIZE)
    with pytest.raises(StorageError, match="the disk has room for 1,000"):
        fetch_object(cid, [Gateway(host.url)], store)
    assert left(store) == []


def test_a_part_that_cannot_be_locked_is_left_alone(hosts: Hosts, store: Objects, tmp_path: Path) -> None:
    content = content_of(SIZE)
    cid = cid_of(content, tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    store.new_temporary().with_name(f"{cid}.part").symlink_to(victim)

    fetch_object(cid, [Gateway(hosts(content).url)], store)

    assert victim.read_bytes() == b"precious"
    assert store.path(cid).read_bytes() == content


def test_control_c_keeps_what_arrived_and_ends_every_thread(
    hosts: Hosts, store: Objects, tmp_path: Path
) -> None:
    content = content_of(SIZE)
    cid, host = cid_of(content, tmp_path), hosts(content)

    def interrupt(done: int, total: int | None) -> None:
        if done > SIZE // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_object(cid, [Gateway(host.url)], store, progress=interrupt)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("stargazer")]
    assert left(store) == [f"{cid}.part"]

    fetch_object(cid, [Gateway(host.url)], store)
    assert host.starts[1] > SIZE // 2
