"""Stand-alone script that becomes a program of PATH, which Linux ends when the process that started it ends.

python launch.py PROGRAM ARGUMENTS...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def die_with_parent() -> None:
    """End when the process that started us ends, however it does (Linux only; it outlasts exec)."""
    parent = os.environ.pop("STARGAZER_PARENT", None)
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if parent is not None and os.getppid() != int(parent):
            os._exit(128 + signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    for name in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execv(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot start {os.path.basename(sys.argv[1])}: {error.strerror}")
