"""Stand-alone script that runs samtools or bcftools from the library in pysam's wheel, as if it were the program.

    python hts.py samtools|bcftools ARGUMENTS...

It loads the shared library of the wheel and calls what pysam's own headers declare (samtools.pysam.h),
without importing pysam: the start takes half the time, stdout and stderr are the real ones (pysam's
dispatcher collects stderr in a file and prints no text), and the exit status is the tool's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from _imp import extension_suffixes


def die_with_parent() -> None:
    """As launch.py does, the import of which would take longer than all else here."""
    parent = os.environ.pop("STARGAZER_PARENT", None)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if parent is not None and os.getppid() != int(parent):
            os._exit(128 + signal.SIGKILL)


def library(tool: str) -> str:
    """Return the path of the wheel's library of this tool."""
    for folder in sys.path:
        for suffix in extension_suffixes():
            path = os.path.join(folder, "pysam", f"libc{tool}{suffix}")
            if os.path.exists(path):
                return path
    sys.exit(f"{tool}: the library of pysam's wheel is missing: pip install --force-reinstall pysam")


def run(tool: str, arguments: list[str]) -> int:
    """Run one command of the tool on our own stdin, stdout and stderr; return its exit status."""
    libc, engine = ctypes.CDLL(None), ctypes.CDLL(library(tool))
    unbuffered = 2  # _IONBF: what a killed tool has said is not lost
    for stream, descriptor in ("stderr", 2), ("stdout", 1):
        open_stream = getattr(engine, f"{tool}_set_{stream}")
        open_stream.restype = ctypes.c_void_p
        file = ctypes.c_void_p(open_stream(descriptor))
        if stream == "stderr":
            libc.setvbuf(file, None, unbuffered, ctypes.c_size_t(0))
    getattr(engine, f"{tool}_set_stdout_fn")(b"-")

    argv = [tool.encode(), *map(os.fsencode, arguments)]
    dispatch = getattr(engine, f"{tool}_dispatch")
    status: int = dispatch(len(argv), (ctypes.c_char_p * (len(argv) + 1))(*argv, None))
    if libc.fflush(None) != 0 and status == 0:
        os.write(2, f"{tool}: error writing to standard output\n".encode())
        return 1
    return status & 0xFF


if __name__ == "__main__":
    die_with_parent()
    for name in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    os._exit(run(sys.argv[1], sys.argv[2:]))
