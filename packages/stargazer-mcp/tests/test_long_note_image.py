"""The note image is built of the wheels of this tree, starts offline, and its notebooks work in a browser."""

from __future__ import annotations

import pytest

from .image_build import built_and_tried
from .notebook_browser import CHROMIUM


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_note_image_is_built_starts_offline_and_works(capfd: pytest.CaptureFixture[str]) -> None:
    told = built_and_tried("note", capfd, browsers=CHROMIUM)

    assert "smoke: 10 passed, 0 failed" in told
    assert " GB, built in " in told
