"""Addresses as they are shown: whatever a URL holds beside its host and path stays out of every text."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets.addresses import has_secrets, hidden, is_address, without_secrets
from stargazer.assets.errors import FormatError, StorageError, ToolError

SCHEMES = ["http", "https", "HTTP", "ftp", "s3", "gs", "file", "az", "sftp", "git+ssh"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/x.bam", "https://example.org/x.bam"),
        ("https://example.org:8443/a/x.bam?token=hush", "https://example.org:8443/a/x.bam"),
        ("https://example.org/x.bam#hush", "https://example.org/x.bam"),
        ("https://me:hush@example.org/x.bam", "https://example.org/x.bam"),
        ("https://hush@example.org/x.bam", "https://example.org/x.bam"),
        ("https://me:hu/sh@example.org/x.bam", "https://example.org/x.bam"),
        ("https://me:hu#sh?hush@example.org/x.bam", "https://example.org/x.bam"),
        ("https://me:hu@sh@example.org/x.bam", "https://example.org/x.bam"),
        ("https://[::1]:80/x.bam?a=hush", "https://[::1]:80/x.bam"),
        ("https://[::1/x.bam?a=hush", "https://[::1/x.bam"),
        ("https://example.org/@scope/x.bam", "https://example.org/@scope/x.bam"),
        ("https://me:1/hush@example.org/x.bam", "https://example.org/x.bam"),
        ("https://:@/hush@example.org/x.bam", "https://example.org/x.bam"),
        ("https://me:@b/hush?@example.org/x.bam", "https://example.org/x.bam"),
        ("https://example.org:80/x.bam?mail=me@hush", "https://example.org:80/x.bam"),
        ("s3://me:hush@bucket/x.bam", "s3://bucket/x.bam"),
        ("s3:/me:hush@bucket/x.bam", "s3:/bucket/x.bam"),
        ("file:///data/x.bam?hush", "file:///data/x.bam"),
        ("//me:hush@example.org/x", "//example.org/x"),
        ("https://example.org/eyJhush12345.hush67890.hush/x", "https://example.org/.../x"),
        ("https://example.org/{cid}", "https://example.org/{cid}"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert without_secrets(shown) == shown


@settings(deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES),
    user=st.from_regex(r"[a-z]{0,5}", fullmatch=True),
    password=st.from_regex(
        r"[A-Za-z0-9:/?#@!$&'()*+,;=%._~-]{0,8}SECRET[A-Za-z0-9:/?#@!$*+,;=%._~-]{0,8}", fullmatch=True
    ).filter(lambda password: not re.match("[0-9]+/", password)),  # as of a host with a port
    query=st.from_regex(r"[A-Za-z-]{1,20}=[A-Za-z0-9%/+=_.-]{0,8}SECRET[&=A-Za-z]{0,8}", fullmatch=True),
    before=st.sampled_from(["", "the mirror ", "'", '"', "("]),
    after=st.sampled_from(["", " cannot be had", "'", '"', "', expected", "): no"]),
)  # fmt: skip
def test_no_secret_of_a_url_is_left_in_a_text(
    scheme: str, user: str, password: str, query: str, before: str, after: str
) -> None:
    for url in (
        f"{scheme}://{user}:{password}@example.org/x.bam",
        f"{scheme}://example.org/x.bam?{query}",
        f"{scheme}://{user}:{password}@example.org/x.bam?a=1&{query}#SECRET",
    ):
        assert "SECRET" not in hidden(before + url + after)
        assert has_secrets(before + url + after)


@pytest.mark.parametrize(
    "text",
    [
        "no such file: '/data/R&D/x?.bam'",
        "reads of sample:lane: '@HWI:1:2' and '@HWI:1:3': record 4",
        "see https://example.org/a/b.html.",
        "give it as https://HOST/ipfs/{cid}, or a path",
        "sed '/^>/{s,[^[:space:]0-9A-Za-z!#$%&*+./:;=?@^_|~-],_,g;}' r.fa > r.mended.fa",
        "12/3 of 4:5, x@1.2, tool@2, C:\\x",
    ],
)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert hidden(text) == text
    assert not has_secrets(text)


def test_a_query_without_its_host_is_not_shown_either() -> None:
    assert (
        hidden("no such file: '127.0.0.1:9/x.fa?token=hush&x=hush': y")
        == "no such file: '127.0.0.1:9/x.fa?...': y"
    )


@pytest.mark.parametrize("kind", [FormatError, StorageError, ToolError])
def test_no_error_shows_a_secret_of_a_url(kind: type[Exception]) -> None:
    error = kind("'ftp://me:hush@example.org/x?sig=hush': expected http:// or https://")
    error.add_note("asked at https://example.org/y?X-Amz-Signature=hush")

    assert str(error) == "'ftp://example.org/x': expected http:// or https://"
    assert "hush" not in repr(error) + error.explain()  # type: ignore[attr-defined]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("word", "is_one"),
    [("s3://b/x", True), ("s3:/b/x", True), ("HTTP://h", True), ("/a:/b", False), ("x:y", False), ("x.fa", False)],
)  # fmt: skip
def test_a_url_is_told_from_a_path(word: str, is_one: bool) -> None:
    assert is_address(word) == is_one
