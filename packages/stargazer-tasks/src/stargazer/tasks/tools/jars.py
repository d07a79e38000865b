"""The jars of a tool from Maven in one folder: read from a lock, brought, verified once, and quick to start."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import field, frozen
from stargazer.assets import ConfigurationError, IntegrityError, StorageError, ToolError
from stargazer.tasks.tools.sources import Progress, launched

__all__ = ["Jar", "Jars", "Lock", "read_lock"]

AT_ONCE = 4
"""Downloads."""

ARCHIVE_ROOM = 100 << 20
"""Bytes of the disk that an archive of classes may take."""

_UNUSABLE = re.compile("[:+!]")  # GATK takes + for a blank, and ! ends the name of a jar in a URL
_PLAIN = re.compile("[A-Za-z0-9@._/-]+")
_MANIFEST_LINE = 72  # bytes, as Java's specification of jar files has it
_WAIT = 0.05  # seconds between two looks at what somebody else does


@frozen
class Jar:
    """One line of a lock: coordinates, checksum, size in bytes."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    size: int

    @property
    def coordinates(self) -> str:
        """As Maven writes them, without what is empty."""
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))

    @property
    def name(self) -> str:
        """Of its file."""
        return "-".join(filter(None, (self.artifact, self.version, self.classifier))) + ".jar"

    @property
    def path(self) -> str:
        """Of its file in a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


@frozen
class Lock:
    """The jars of a tool in the order of its class path, the tool's own first; `digest` tells locks apart."""

    jars: tuple[Jar, ...]
    digest: str

    @property
    def tool(self) -> Jar:
        """The jar that needs the others."""
        return self.jars[0]

    @property
    def size(self) -> int:
        """Bytes of all jars."""
        return sum(jar.size for jar in self.jars)


@functools.cache
def read_lock(path: Path) -> Lock:
    """Read a lock: `group:artifact:version[:classifier] sha256 bytes` in each line, and comments.

    Raises:
        ToolError: there is no such file, or a line is another one.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ToolError(f"the lock {path.name!r} cannot be read: {error.strerror}") from error
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                coordinates, sha256, size = line.split()
                group, artifact, version, *classifier = coordinates.split(":")
                jars.append(Jar(group, artifact, version, "".join(classifier), sha256, int(size)))
            except ValueError:
                raise ToolError(
                    f"line {number} of the lock {path.name!r} is {line[:80]!r}: "
                    "expected group:artifact:version[:classifier] sha256 bytes"
                ) from None
    if not jars:
        raise ToolError(f"the lock {path.name!r} names no jar")
    return Lock(tuple(jars), hashlib.sha256(text.encode()).hexdigest())


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


@frozen
class Jars:
    """The jars of one tool in a folder of STARGAZER_HOME, and an archive of their classes for one Java.

    Attributes:
        name: what people call the tool.
        lock: what belongs there.
        folder: without symbolic links: Java uses an archive for the very path that it was made for.
        java: the program that runs them.
        jre: the wheel that it is in, as pip reads it.
        classes: the names of the classes that the tool loads, compressed; None for no archive.
    """

    name: str
    lock: Lock
    folder: Path = field(converter=_resolved)
    java: Path
    jre: str
    classes: Path | None = None

    @property
    def jar(self) -> Path:
        """The jar that names all others in the order of the lock."""
        return self.folder / f"{self.lock.tool.artifact}.jar"

    @property
    def archive(self) -> Path:
        """The archive of classes; its name tells what it is good for: this folder, these jars, this Java."""
        text = json.dumps([str(self.folder), self.lock.digest, self.jre, platform.machine()])
        return self.folder / f"classes-{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsa"

    def is_ready(self) -> bool:
        """Whether all is here, by the record of what was verified: no byte is read again."""
        record = self._recorded()
        return (
            not self._changed(record)
            and record.get("boot") == _boot()
            and record.get(self.jar.name) == _state(self.jar)
            and (not self._is_archived() or self.archive.exists() or self._has_failed())
        )

    def absent(self) -> list[Jar]:
        """The jars that are not here, or not as they were verified."""
        return self._changed(self._recorded())

    def install(
        self, progress: Progress | None = None, source: Path | None = None, *, again: bool = False
    ) -> None:
        """Bring what is missing, verify it, and have the tool start fast; nothing if all is here.

        Only one process does so; others wait. What arrived before a process died is not asked for again.

        Args:
            progress: told of each jar.
            source: a folder that the jars are taken from, instead of the network.
            again: read every jar that is here, also those that were verified before.

        Raises:
            StorageError: a jar cannot be had, or the disk does not take it.
            IntegrityError: what is given in place of a jar is another file.
        """
        if not again and self.is_ready():
            return
        from stargazer.storage import make_folders, refused

        if found := _UNUSABLE.search(str(self.folder)):
            raise ConfigurationError(
                f"{str(self.folder)!r} holds {found[0]!r}, and Java finds no classes in such a folder: "
                "set STARGAZER_HOME to another one"
            )
        try:
            make_folders(self.folder)
            with self._alone():
                if again or not self.is_ready():
                    self._complete(progress or _nobody, source, again=again)
        except StorageError:  # an OSError, too
            raise
        except OSError as error:
            raise refused(error, self.folder) from error

    def _complete(self, progress: Progress, source: Path | None, *, again: bool) -> None:
        work = self.folder / "unfinished"
        work.mkdir(exist_ok=True)
        record = self._recorded()
        changed = self._changed(record)
        if changed:
            self._remove_archives()  # Java uses none for jars of another time
        # nothing is synced, which takes as long as the download: after a crash of the machine all is read again
        doubted = self.lock.jars if again or record.get("boot") != _boot() else changed
        if wrong := [jar for jar in doubted if not _is(self.folder / jar.name, jar)]:
            self._remove_archives()
            self._bring(wrong, work, progress, source)
        _write_pathing_jar(self.jar, work, [jar.name for jar in self.lock.jars])
        self._record(work)
        self._remove_archives(self.archive)
        if self._is_archived():
            self._archive_classes(work)
        shutil.rmtree(work, ignore_errors=True)

    def _bring(self, wrong: list[Jar], work: Path, progress: Progress, source: Path | None) -> None:
        from stargazer.storage import each, fetch_file

        self._check_room(wrong)
        base = None if source is not None else address()
        given = _jars_below(source) if source is not None else {}
        for jar in wrong:
            progress(jar.name, 0, jar.size)

        def bring(jar: Jar) -> None:
            if base is not None:
                url = f"{base}/{jar.path}"
            elif jar.name in given:
                url = given[jar.name].as_uri()
            else:
                raise StorageError(f"{jar.name} is not in {str(source)!r}, nor in a folder below it")

            def tell(done: int, _: int | None) -> None:
                progress(jar.name, done, jar.size)

            # without the size: of a page in its place one wants to see that it is one
            with fetch_file(url, {"sha256": jar.sha256}, work, _silent, progress=tell) as path:
                with open(path, "rb") as file:
                    os.fsync(
                        file.fileno()
                    )  # what is recorded as verified is not read again, also after a crash
                path.chmod(0o644)
                path.replace(self.folder / jar.name)

        try:
            each(bring, sorted(wrong, key=lambda jar: -jar.size), AT_ONCE, "jar")
        except (IntegrityError, StorageError) as error:
            raise type(error)(f"{error}\n{self._ways_out()}") from error

    def _ways_out(self) -> str:
        size = f"{self.lock.size / 1e6:.0f} MB"
        return (
            f"{self.name} needs {len(self.lock.jars)} jars ({size}) in {str(self.folder)!r}; "
            "what arrived is kept. Try again, or do one of these:\n"
            "  - set STARGAZER_MAVEN to a mirror of Maven Central that this machine reaches, or to file:///FOLDER\n"
            f"  - copy the folder from a machine that has it: stargazer install {self.name} --from FOLDER\n"
            f"  - use a {self.name} of PATH: STARGAZER_TOOLS={self.name}=path"
        )

    def _check_room(self, wrong: Iterable[Jar]) -> None:
        status = os.statvfs(self.folder)
        room, needed = status.f_bavail * status.f_frsize, sum(jar.size for jar in wrong) + ARCHIVE_ROOM
        if status.f_blocks and room < needed:
            raise StorageError(
                f"the disk is full: {self.name} takes {needed:,} bytes, and {room:,} are free in "
                f"{str(self.folder)!r}; free some space, or move the folder to a larger disk (STARGAZER_HOME)"
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder against other processes and threads that install."""
        from stargazer.storage import open_shared, pause, try_lock

        fd = open_shared(self.folder / "lock", self.folder)
        try:
            while not try_lock(fd):
                pause(_WAIT)
            yield
        finally:
            os.close(fd)

    # what was verified

    @property
    def _record_path(self) -> Path:
        return self.folder / "verified.json"

    def _recorded(self) -> dict[str, object]:
        """Size and time in ns of each jar that was verified, by its checksum and name; of our own by its name.

        `boot` is when that was, as the machine numbers its starts.
        """
        try:
            record: dict[str, object] = json.loads(self._record_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _changed(self, record: dict[str, object]) -> list[Jar]:
        changed = []
        for jar in self.lock.jars:
            known = record.get(f"{jar.sha256} {jar.name}")
            if known is None or known != _state(self.folder / jar.name):
                changed.append(jar)
        return changed

    def _record(self, work: Path) -> None:
        states: dict[str, object] = {
            f"{jar.sha256} {jar.name}": _state(self.folder / jar.name) for jar in self.lock.jars
        }
        states |= {self.jar.name: _state(self.jar), "boot": _boot()}
        new = work / self._record_path.name
        new.write_text(json.dumps(states))
        new.replace(self._record_path)

    # the archive of classes

    def _is_archived(self) -> bool:
        """Whether classes are archived: Java 17 finds none of them in a folder whose name its URLs write otherwise."""
        return self.classes is not None and _PLAIN.fullmatch(str(self.folder)) is not None

    def _has_failed(self) -> bool:
        return self.archive.with_suffix(".failed").exists()

    def _remove_archives(self, *kept: Path) -> None:
        """Remove archives that nobody can use any more: of a moved folder, of other jars, of another Java."""
        for path in self.folder.glob("classes-*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _archive_classes(self, work: Path) -> None:
        """Make the archive of classes; where Java does not, note why: the tool runs without."""
        if self.archive.exists():
            return
        new = work / self.archive.name
        names = work / "classes"
        names.write_bytes(_decompressed(self.classes))
        command = [
            str(self.java),
            "-Xshare:dump",
            "-XX:+UseSerialGC",
            f"-XX:SharedClassListFile={names}",
            f"-XX:SharedArchiveFile={new}",
            "-cp",
            str(self.jar),
        ]
        if said := _run(command, self.folder):
            self.archive.with_suffix(".failed").write_text(said)
        else:
            new.replace(self.archive)


def address() -> str:
    """The URL that jars are downloaded from: that of the setting `maven`, else Maven Central's.

    Raises:
        ConfigurationError: nothing says it.
    """
    from stargazer.storage import Settings

    if mirror := Settings.load().maven:
        return mirror
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
    except ImportError:
        raise ConfigurationError(
            "nothing says where jars are downloaded from: pip install 'stargazer-mcp[gatk]', or set STARGAZER_MAVEN"
        ) from None
    return str(MAVEN_CENTRAL_URL).rstrip("/")


def _nobody(name: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def _silent(_: str) -> None:
    """Tell nobody."""


def _state(path: Path) -> list[int] | None:
    """Size in bytes and time of the last change in ns; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _boot() -> str:
    """Which start of the machine this is; empty where the system does not say (all but Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is(path: Path, jar: Jar) -> bool:
    """Whether a file is this jar, by its bytes."""
    try:
        if path.stat().st_size != jar.size:
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _jars_below(folder: Path) -> dict[str, Path]:
    """Every jar in a folder and those below it, by its file's name."""
    return {
        name: Path(above, name).absolute()
        for above, _, names in os.walk(folder)
        for name in names
        if name.endswith(".jar")
    }


def _write_pathing_jar(path: Path, work: Path, names: Iterable[str]) -> None:
    """Write a jar that holds nothing but the names of those beside it, in order; the same bytes each time."""
    import zipfile

    text = b"".join(map(_folded, ("Manifest-Version: 1.0", "Class-Path: " + " ".join(names)))) + b"\r\n"
    new = work / path.name
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), text)
    if (
        not path.exists() or path.read_bytes() != new.read_bytes()
    ):  # its time counts for an archive of classes
        new.replace(path)


def _folded(line: str) -> bytes:
    """A line of a manifest, cut into lines that are short enough."""
    rest, pieces, most = line.encode(), [], _MANIFEST_LINE - 2
    while rest:
        pieces.append(rest[:most])
        rest, most = rest[most:], _MANIFEST_LINE - 3
    return b"\r\n ".join(pieces) + b"\r\n"


def _decompressed(path: Path | None) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes()) if path is not None else b""


def _run(command: list[str], folder: Path) -> str:
    """Run a command that ends with us; what it said if it failed, else nothing."""
    from stargazer.storage import pause

    with subprocess.Popen(
        [*launched(command[0]), *command[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "STARGAZER_PARENT": str(os.getpid()),
        },
    ) as process:
        said: list[bytes] = []
        assert process.stdout is not None
        reader = threading.Thread(
            target=lambda pipe: said.append(pipe.read()), args=(process.stdout,), daemon=True
        )
        reader.start()
        try:
            while process.poll() is None:
                pause(_WAIT)
        except BaseException:
            process.kill()
            raise
        reader.join()
    return b"".join(said).decode("utf-8", "replace")[-4000:] or "?" if process.returncode else ""
