"""Lines of a client: which are messages, and what those that are none are answered with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import jsonrpc_message_adapter
from stargazer.mcp.messages import LINE, Message, Refused, read_message
from stargazer.mcp.strict_json import JsonError, parse, shortened
from stargazer.mcp.wire import lines


def request(**changed: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/list", **changed}


def call(arguments: str, id: str = "7") -> bytes:
    """A call of a tool with arguments as they are on the wire."""
    params = f'{{"name":"query_files","arguments":{arguments}}}'
    return f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}'.encode()


def refused(line: bytes) -> tuple[Any, str]:
    """The id and the text of the one error that a line is answered with."""
    with pytest.raises(Refused) as raised:
        read_message(line)
    (answer,) = raised.value.answers
    assert len(json.dumps(answer)) < 700
    return answer["id"], answer["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (r'{"sample":"\ud800"}', "half of a surrogate pair"),
        (r'{"\udc00x":"a"}', "half of a surrogate pair"),
        (r'["\udfff\ud800"]', "half of a surrogate pair"),
        ("[" * 100_000 + "]" * 100_000, "more than 32 lists and objects in one another"),
        ("[" * 40 + "]" * 40, "more than 32"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "more than 32"),
        ("[" * 100_000, "more than 32"),
        ('{"limit":NaN}', "NaN is not JSON"),
        ('{"limit":-Infinity}', "-Infinity is not JSON"),
        ('{"limit":1e999}', "too large"),
        ('{"limit":' + "9" * 5_000 + "}", "thousands of digits"),
        ('{"sample":"a","sample":"b"}', 'the key "sample" is there twice'),
        ('{"' + "k" * 10_000 + '":1,"' + "k" * 10_000 + '":2}', "(10,000 characters) is there twice"),
        ("{'sample': 'a'}", "not JSON"),
        ('{"sample":"a"', "not JSON"),
        ('{"sample":"a\n"}', "not JSON"),
        ("[" + "1," * 200_001 + "1]", "more than 200,000 values"),
        ('"{}"', "arguments is an object, not"),
        ("[1]", "arguments is an object, not [1]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("id", ["7", '"seven"'])
def test_what_cannot_be_read_is_answered_under_its_id(arguments: str, problem: str, id: str) -> None:
    answered, text = refused(call(arguments, id))
    assert answered == json.loads(id)
    assert problem in text


@pytest.mark.parametrize(
    ("line", "id", "problem"),
    [
        (b"hello", None, "not JSON"),
        (b"\xff\xfe{}", None, "not UTF-8 (byte 1)"),
        (b'{"jsonrpc":"2.0","id":7,"method":"\xff"}', 7, "not UTF-8"),
        (b'{"method":"\xff","params":{"id":1},"jsonrpc":"2.0","id":7}', 7, "not UTF-8"),
        (b"[]", None, "a batch is not taken"),
        (b"17", None, "a JSON object, not 17"),
        (b"null", None, "a JSON object, not null"),
        (json.dumps({"id": 7, "method": "ping"}).encode(), 7, '"jsonrpc": "2.0"'),
        (json.dumps({"jsonrpc": "2.0", "id": 7}).encode(), None, 'a message has a "method"'),
        (json.dumps({"jsonrpc": "2.0", "id": 7, "result": 1}).encode(), None, 'a message has a "method"'),
        (json.dumps(request(method={})).encode(), 7, "method is a text, not {}"),
        (json.dumps(request(method="m" * 10**6)).encode(), 7, "no method"),
        (json.dumps(request(params=[1])).encode(), 7, "params is an object, not [1]"),
        (json.dumps(request(method="tools/call")).encode(), 7, "name is that of a tool, not null"),
        (json.dumps(request(method="tools/call", params={"name": {"a": 1}})).encode(), 7, "for example"),
        *[
            (json.dumps(request(id=id)).encode(), None, "id is a text")
            for id in (None, True, 1.5, [1], {"a": 1}, "i" * 201, 10**18)
        ],
    ],
)
def test_what_is_no_message_is_said(line: bytes, id: Any, problem: str) -> None:
    answered, text = refused(line)
    assert answered == id
    assert problem in text


def test_every_member_of_a_batch_is_answered() -> None:
    batch = [request(id=1), request(id="two"), {"jsonrpc": "2.0", "method": "notifications/initialized"}]
    with pytest.raises(Refused) as raised:
        read_message(json.dumps(batch).encode())
    assert [answer["id"] for answer in raised.value.answers] == [1, "two"]


@pytest.mark.parametrize(
    "message",
    [
        request(),
        request(id="x" * 200),
        request(id=0),
        request(params=None),
        request(method="tools/call", params={"name": "list_tasks"}),
        request(method="tools/call", params={"name": "query_files", "arguments": {"f": ["é𝄞", 1.5, None]}}),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "m"}},
    ],
)
def test_right_messages_pass_as_they_are(message: dict[str, Any]) -> None:
    for escaped in (True, False):
        read = read_message(json.dumps(message, ensure_ascii=escaped).encode() + b"\r")
        assert json.loads(read.line) == message
        assert read.id == (message.get("id") if "method" in message else None)


def test_what_takes_a_request_back_names_it() -> None:
    line = json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}})
    assert read_message(line.encode()).cancelled == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | JSON,
        "method": st.sampled_from(["ping", "tools/call", "notifications/cancelled"]) | JSON,
        "params": st.fixed_dictionaries({"name": JSON, "arguments": JSON}) | JSON,
        "result": JSON,
        "error": JSON,
    },
)


def judged(line: bytes) -> Message | list[dict[str, Any]]:
    """The message in a line, or the answers to it."""
    try:
        return read_message(line)
    except Refused as refusal:
        return refusal.answers


@given(ENVELOPES | JSON)
def test_what_passes_is_a_message_to_the_sdk_and_all_else_is_answered(value: Any) -> None:
    message = judged(json.dumps(value).encode())
    if isinstance(message, Message):
        read = jsonrpc_message_adapter.validate_json(message.line, by_name=False)
        assert getattr(read, "id", None) == value.get("id")
    else:
        assert message or ("error" in value and "method" not in value)
        assert all(len(json.dumps(answer)) < 1_500 for answer in message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_answered(line: bytes) -> None:
    assert judged(line)


@given(st.lists(st.binary(max_size=30).filter(lambda part: b"\n" not in part)), st.integers(1, 7))
def test_lines_are_those_that_were_sent_however_they_arrive(sent: list[bytes], step: int) -> None:
    data = b"".join(part + b"\n" for part in sent)
    chunks = iter([data[at : at + step] for at in range(0, len(data), step)] + [b""])
    assert list(lines(lambda: next(chunks))) == [(part, len(part)) for part in sent]


def test_the_last_line_needs_no_end() -> None:
    chunks = iter([b"a\nb", b"c", b""])
    assert list(lines(lambda: next(chunks))) == [(b"a", 1), (b"bc", 2)]


@pytest.mark.parametrize("form", ['{"jsonrpc":"2.0","id":7,"x":"%s"}', '{"x":"%s","jsonrpc":"2.0","id":7}'])
@pytest.mark.parametrize("filler", ["k", "[", r"\""])
def test_a_line_that_never_ends_is_kept_in_part_and_answered(form: str, filler: str) -> None:
    before, after = form.encode().split(b"%s")
    chunk = (filler * 2**16).encode()[: 2**16]
    chunks = iter([before, *[chunk] * (2 * LINE // len(chunk)), after + b"\n", b'{"id":8}\n', b""])
    (line, size), following = lines(lambda: next(chunks))
    assert size == 2 * LINE + len(before) + len(after)
    assert len(line) <= LINE + len(chunk)
    assert following == (b'{"id":8}', 8)
    with pytest.raises(Refused) as raised:
        read_message(line, size)
    assert raised.value.answers[0]["id"] == 7
    assert f"at most {LINE:,}" in str(raised.value)


def test_a_value_is_shown_in_short() -> None:
    assert shortened("a") == '"a"'
    assert shortened({"a": None}) == '{"a": null}'
    assert len(shortened("k" * 10**6)) < 250
    assert len(shortened(list(range(10**5)))) < 250
    assert "\ud800" not in shortened("\ud800")


def test_json_text_has_one_meaning() -> None:
    assert parse(r'{"a": ["𝄞", "\ud834\udd1e", 1e3, null]}') == {"a": ["𝄞", "𝄞", 1000.0, None]}
    for text in ('{"a":1,"a":1}', "[NaN]", r'"\ud834"', "[" * 10**6, "'a'", ""):
        with pytest.raises(JsonError):
            parse(text)
