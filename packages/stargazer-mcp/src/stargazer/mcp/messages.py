"""Reads the lines that an MCP client sends: messages that can be served, and the errors that answer the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
from stargazer.mcp.strict_json import JsonError, parse, shortened, valid_text

__all__ = ["HEAD", "LINE", "TAIL", "Message", "Refused", "read_message"]

LINE = 4 * 2**20  # bytes; what is longer is read to its end and refused
HEAD, TAIL = 2**16, 2**12  # bytes of a longer line that are kept, to find its id
NAME = 200  # characters of a method or an id
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
BATCH = 100  # members of a batch that are answered

Id: TypeAlias = str | int

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', re.DOTALL)
ID = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?[0-9]{1,18})\s*(?=[,}])')
LAST_ID = re.compile(rb'"id"\s*:\s*("[^"\\]{0,200}"|-?[0-9]{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?}\s*$')


class Refused(ValueError):
    """A line that cannot be served, with its answers: an error for each id, for none with the id null."""

    def __init__(self, code: int, problem: str, ids: Sequence[Id | None] = (None,)):
        super().__init__(problem)
        self.answers: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": problem}} for id in ids
        ]


@attrs.frozen
class Message:
    """A message that can be served.

    Args:
        line: it, written anew: the server reads what was judged, whatever its reader takes from such a text.
        method: of a request or a notification.
        id: of a request.
        cancelled: the id of the request that it takes back.
    """

    line: bytes
    method: str | None = None
    id: Id | None = None
    cancelled: Id | None = None


def read_message(line: bytes, size: int | None = None) -> Message:
    """The message in a line.

    Args:
        line: it, or of a line of more than `LINE` bytes its first and last bytes.
        size: how long it was.

    Raises:
        Refused: it cannot be served; with the answers.
    """
    size = len(line) if size is None else size
    if size > LINE:
        problem = f"a message of {size:,} bytes; at most {LINE:,} are taken"
        raise Refused(INVALID_REQUEST, problem, [_id_in(line)])
    try:
        message = parse(line.decode())
        written = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 (byte {error.start + 1:,}): a message is JSON in UTF-8"
        raise Refused(PARSE_ERROR, problem, [_id_in(line)]) from None
    except JsonError as error:
        id = _id_of(error.value) if error.value is not None else _id_in(line)
        raise Refused(PARSE_ERROR, str(error), [id]) from None
    except ValueError:
        raise Refused(PARSE_ERROR, "a number that is too large", [_id_of(message)]) from None
    if isinstance(message, list):
        ids = [id for id in map(_id_of, message[:BATCH]) if id is not None]
        raise Refused(
            INVALID_REQUEST, "a batch is not taken: send each message on a line of its own", ids or [None]
        )
    if not isinstance(message, dict):
        raise Refused(INVALID_REQUEST, f"a message is a JSON object, not {shortened(message)}")
    return _judged(message, written)


def _judged(message: dict[str, Any], written: bytes) -> Message:
    id = _id_of(message)
    if message.get("jsonrpc") != "2.0":
        raise Refused(INVALID_REQUEST, 'a message has "jsonrpc": "2.0"', [id])
    if "method" not in message and "error" in message:
        error = message["error"]
        if (
            "id" in message
            and (id is not None or message["id"] is None)
            and isinstance(error, dict)
            and type(error.get("code")) is int
            and isinstance(error.get("message"), str)
        ):
            return Message(written)
        raise Refused(INVALID_REQUEST, "an error that is none", [])  # errors are not answered with errors
    if "id" in message and id is None:
        raise Refused(
            INVALID_REQUEST,
            f"id is a text of at most {NAME} characters or a whole number of at most 18 digits, "
            f"not {shortened(message['id'])}",
        )
    if "method" not in message:
        if id is None or not isinstance(message.get("result"), dict):
            raise Refused(
                INVALID_REQUEST, 'a message has a "method", or answers with a "result" or an "error"'
            )
        return Message(written)
    method, params = message["method"], message.get("params")
    if not isinstance(method, str):
        raise Refused(INVALID_REQUEST, f"method is a text, not {shortened(method)}", [id])
    if len(method) > NAME:
        raise Refused(METHOD_NOT_FOUND, f"no method {shortened(method)}", [id])
    if params is not None and not isinstance(params, dict):
        raise Refused(INVALID_PARAMS, f"params is an object, not {shortened(params)}", [id])
    if method == "tools/call":
        _refuse_call(params or {}, id)
    cancelled = (
        _id_of({"id": (params or {}).get("requestId")}) if method == "notifications/cancelled" else None
    )
    return Message(written, method, id, cancelled)


def _refuse_call(params: Mapping[str, Any], id: Id | None) -> None:
    """Refuse a call of a tool that names none, or whose arguments are no object."""
    example = 'for example: {"name": "query_files", "arguments": {"filters": {"asset": "reference"}}}'
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str):
        raise Refused(INVALID_PARAMS, f"name is that of a tool, not {shortened(name)}; {example}", [id])
    if arguments is not None and not isinstance(arguments, dict):
        raise Refused(INVALID_PARAMS, f"arguments is an object, not {shortened(arguments)}; {example}", [id])


def _id_of(message: Any) -> Id | None:
    """The id of a message, if it is one."""
    id = message.get("id") if isinstance(message, dict) else None
    if isinstance(id, str):
        return id if len(id) <= NAME and valid_text(id) else None
    return id if type(id) is int and abs(id) < 10**18 else None


def _id_in(line: bytes) -> Id | None:
    """The id in a line that cannot be parsed, as far as it can be told."""
    depth = 0
    for token in TOKEN.finditer(line[:HEAD]):
        word = token[0]
        depth += (word in b"{[") - (word in b"}]")
        if depth == 1 and word == b'"id"' and (found := ID.match(line, token.end())):
            return _id_text(found[1])
    last = LAST_ID.search(line[-TAIL:])
    return _id_text(last[1]) if last else None


def _id_text(text: bytes) -> Id | None:
    try:
        return _id_of({"id": json.loads(text)})
    except ValueError:
        return None
