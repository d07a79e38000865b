"""Stand-alone script that calls one Python function: arguments as JSON from stdin, result as JSON to a descriptor.

python call.py DESCRIPTOR package.module:function
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

from stargazer.tasks.tools.engines.launch import die_with_parent


def main(descriptor: int, function: str) -> int:
    """Call the function; write {"result": ...} or, for an error of ours, {"error": ...}."""
    os.set_inheritable(descriptor, False)
    arguments = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
    module, _, name = function.partition(":")
    status = 0
    try:
        target: Any = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
        answer = json.dumps({"result": target(**arguments)}).encode()
    except Exception as error:
        answer, status = described(error), 1
    os.pwrite(descriptor, answer, 0)
    return status


def described(error: Exception) -> bytes:
    """Return an error meant for the user as JSON; print the traceback of any other."""
    from stargazer.assets import StargazerError

    if isinstance(error, StargazerError):
        kind = type(error)
        return json.dumps(
            {"error": {"module": kind.__module__, "class": kind.__name__, "text": str(error)}}
        ).encode()
    import traceback

    traceback.print_exception(error)
    return b""


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
