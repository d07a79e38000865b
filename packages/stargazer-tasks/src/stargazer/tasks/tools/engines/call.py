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
    """Call the function, and write the answer."""
    os.set_inheritable(descriptor, False)
    answer, status = made(function, sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
    os.pwrite(descriptor, answer, 0)
    return status


def made(function: str, arguments: str) -> tuple[bytes, int]:
    """Call a function with arguments in JSON.

    Returns:
        The answer, {"result": ...} or, for an error of ours, {"error": ...}; and the exit status for it.
    """
    module, _, name = function.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
        return json.dumps({"result": target(**json.loads(arguments))}).encode(), 0
    except Exception as error:
        return described(error), 1


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
