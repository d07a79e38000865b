"""The chat image is built from the wheels of this tree, starts without a network, and does its work."""

from __future__ import annotations

import pytest

from .image_build import built_and_tried


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_chat_image_is_built_starts_offline_and_works(capfd: pytest.CaptureFixture[str]) -> None:
    told = built_and_tried("chat", capfd)

    assert "smoke: 7 passed, 0 failed" in told
    assert " GB, built in " in told
