"""Passes lines between a client's pipes and the server of the MCP SDK, so that every line that was read is answered.

The SDK's own reader drops lines that are no message, takes lines of any length, and ends what it is at when its input
ends. So the server gets a socket in place of both pipes, and here lines are checked on their way in and counted on
their way out. Nothing of the SDK is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stargazer.mcp.messages import HEAD, LINE, TAIL, Refused, read_message

__all__ = ["Wire", "guarded_stdio"]

GRACE = 60.0  # seconds for answers after the end of input; run_workflow answers within 25
WAITING = 32  # requests that are served at once; the next ones are not read before
MESSAGE, DATA = 2_000, 300  # characters of the message of an error, and of what it has beside
ENDLESS = {"subscriptions/listen"}  # requests that are answered when the server ends


@contextmanager
def guarded_stdio() -> Iterator[None]:
    """Within, descriptors 0 and 1 are a socket, and what goes through it is judged.

    Raises:
        OSError: answers could not be written.
    """
    sys.stdout.flush()
    client_in, client_out = os.dup(0), os.dup(1)
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), 0)
    os.dup2(theirs.fileno(), 1)
    wire = Wire(client_in, client_out, ours)
    threads = [threading.Thread(target=body, daemon=True) for body in (wire.take, wire.give)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        sys.stdout.flush()  # what somebody printed is no protocol
        os.dup2(client_in, 0)
        os.dup2(client_out, 1)
        theirs.shutdown(socket.SHUT_RDWR)
    threads[1].join()
    if wire.failure is not None:
        raise wire.failure


class Wire:
    """Lines from a client to a server, and back.

    Args:
        client_in: where the client's lines come from.
        client_out: where answers go.
        server: the socket of the server.
        grace: seconds to wait for answers when the client has sent all.
    """

    def __init__(self, client_in: int, client_out: int, server: socket.socket, *, grace: float = GRACE):
        self.failure: OSError | None = None
        self._in, self._out, self._server, self._grace = client_in, client_out, server, grace
        self._waiting: list[str | int] = []  # ids; one that is used twice is here twice
        self._changed = threading.Condition()
        self._writing = threading.Lock()

    def take(self) -> None:
        """Read the client's lines until they end, and end the server's input when all is answered."""
        with contextlib.suppress(OSError):  # the server has ended
            for line, size in lines(lambda: os.read(self._in, 2**16)):
                if line.strip():
                    self._take(line, size)
            self._wait(lambda: not self._waiting)
            self._server.shutdown(socket.SHUT_WR)

    def give(self) -> None:
        """Hand the server's lines to the client until they end."""
        with self._server.makefile("rb") as answers, contextlib.suppress(OSError):
            for line in answers:
                answer = _answer(line)
                if answer is None:  # printed by who knows whom before the SDK had taken descriptor 1
                    sys.stderr.write(line.decode(errors="backslashreplace"))
                    continue
                self._write(_short(answer) if "error" in answer else line)
                if "method" not in answer:
                    self._forget(answer.get("id"))

    def _take(self, line: bytes, size: int) -> None:
        try:
            message = read_message(line, size)
        except Refused as refused:
            for answer in refused.answers:
                self._write(json.dumps(answer).encode() + b"\n")
            return
        if message.cancelled is not None:
            self._forget(message.cancelled)
        if message.id is not None and message.method not in {None, *ENDLESS}:  # an answer has to come
            self._wait(lambda: len(self._waiting) < WAITING)
            with self._changed:
                self._waiting.append(message.id)
        self._server.sendall(message.line + b"\n")

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.failure is not None, self._grace)

    def _forget(self, id: Any) -> None:
        with self._changed:
            if id in self._waiting:
                self._waiting.remove(id)
                self._changed.notify_all()

    def _write(self, line: bytes) -> None:
        """Write a line for the client; once that has failed nobody reads any more, and the server's input ends."""
        if self.failure is not None:
            return
        try:
            with self._writing:
                while line:
                    line = line[os.write(self._out, line) :]
        except OSError as error:
            with self._changed:
                self.failure = error
                self._changed.notify_all()
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_WR)


def lines(read: Callable[[], bytes]) -> Iterator[tuple[bytes, int]]:
    """Lines with their lengths; of a line of more than `LINE` bytes the first and the last ones."""
    kept, size = bytearray(), 0
    while chunk := read():
        for number, part in enumerate(chunk.split(b"\n")):
            if number:  # a line has ended before it
                yield bytes(kept), size
                kept, size = bytearray(), 0
            kept += part
            size += len(part)
            if len(kept) > LINE:
                del kept[HEAD:-TAIL]
    if kept:
        yield bytes(kept), size


def _answer(line: bytes) -> dict[str, Any] | None:
    """The message in a line of the server, or None if it is none."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "jsonrpc" in answer else None


def _short(answer: dict[str, Any]) -> bytes:
    """An error without what of the request the SDK repeats in full."""
    error = answer["error"]
    text = error["message"]
    if len(text) > MESSAGE:  # what it says comes first, what to do last
        error["message"] = f"{text[: MESSAGE // 2]}... ({len(text):,} characters) ...{text[-MESSAGE // 2 :]}"
    if len(json.dumps(error.get("data"))) > DATA:
        del error["data"]
    return json.dumps(answer).encode() + b"\n"
