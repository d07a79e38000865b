"""Stand-alone script that becomes a Java program, with the options that every short one starts fast and small with.

    python java.py JAVA ARCHIVE JAR MAIN ARGUMENTS...

ARCHIVE holds the program's classes as that Java and those jars have them; where there is none, or another one, the
program starts more slowly. Of the environment it takes STARGAZER_TASK_MEMORY, the bytes that the program may take of
the machine, and TMPDIR.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ROOM, SHARE = 256 << 20, 5
"""What is left beside the heap: these bytes, or this part of the memory if that is more. Without native code a tool
took 80 to 170 MB there; of those with it GenomicsDBImport asks for a fifth (its manual)."""
LEAST = 64 << 20
"""Bytes of the smallest heap."""

LONG, MUCH = ("HaplotypeCaller",), 4 << 20
"""Tools that compute for minutes where a file has so many bytes: a second compiler makes them faster then, and slower
else (benchmarks/gatk_start.py, benchmarks/germline_gatk.py)."""
GREEDY, SMALL, TIMES = ("MarkDuplicates",), 384 << 20, 16
"""Tools that first fill a quarter of the heap with zeros, whatever they are given to read: theirs is no larger than
these bytes and so many times their input, beyond which they would sort on disk."""
HERE = "/proc/self/cwd"
"""The current folder by a name that GATK takes: where that of its temporary folder has a blank, %, # or a letter beyond
ASCII, it finds none of what it unpacks there (`Unable to automatically instantiate codec`)."""


def die_with_parent() -> None:
    """As launch.py does, the import of which would take longer than all else here."""
    parent = os.environ.pop("STARGAZER_PARENT", None)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if parent is not None and os.getppid() != int(parent):
            os._exit(128 + signal.SIGKILL)


def options(archive: str, memory: int, folder: str, tool: str = "", *arguments: str) -> list[str]:
    """The options of the virtual machine: one thread collects, and one compiler is enough for what is short."""
    sizes = [os.path.getsize(path) for path in arguments if os.path.isfile(path)]
    optimise = tool in LONG and max(sizes, default=0) > MUCH
    heap = max(memory - max(ROOM, memory // SHARE), LEAST)
    if tool in GREEDY:
        heap = min(heap, SMALL + TIMES * sum(sizes))
    return [
        "-XX:+UseSerialGC",
        *([] if optimise else ["-XX:TieredStopAtLevel=1"]),
        f"-XX:SharedArchiveFile={archive}",
        *([f"-Xmx{heap >> 20}m"] if memory else []),
        f"-Djava.io.tmpdir={folder}",
    ]


if __name__ == "__main__":
    die_with_parent()
    for name in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    java, archive, jar, main, *arguments = sys.argv[1:]
    given = int(os.environ.pop("STARGAZER_TASK_MEMORY", "0"))
    temporary = os.environ["TMPDIR"]
    if os.path.isdir(HERE) and os.path.realpath(temporary) == os.getcwd():
        temporary = HERE
    command = [java, *options(archive, given, temporary, *arguments), "-cp", jar, main, *arguments]
    try:
        # in the C locale Java takes no path with other letters than those of ASCII
        os.execve(java, command, {**os.environ, "LC_ALL": "C.UTF-8"})
    except OSError as error:
        sys.exit(f"cannot start {os.path.basename(java)}: {error.strerror}")
