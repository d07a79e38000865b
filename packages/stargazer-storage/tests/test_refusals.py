"""What a file system refuses is said with the path and with what to do."""

from __future__ import annotations

import errno
import os

import pytest
from stargazer.assets import StorageError
from stargazer.storage.refusals import REASONS, refused


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_number_has_a_path_and_a_remedy(number):
    error = refused(OSError(number, os.strerror(number), "/data/a.fa"), "/store")
    assert isinstance(error, StorageError)
    assert str(error).startswith("'/data/a.fa' cannot be used (")
    assert os.strerror(number).lower() in str(error)
    assert len(str(error).partition("): ")[2]) > 20


@pytest.mark.parametrize("number", sorted(REASONS))
def test_without_a_path_the_place_is_said(number):
    assert "'/store'" in str(refused(OSError(number, os.strerror(number)), "/store"))


def test_of_two_paths_both_are_said():
    text = str(refused(OSError(errno.EXDEV, "Invalid cross-device link", b"/a", None, b"/b"), "/store"))
    assert text.startswith("'/a' and '/b'")


def test_an_error_without_a_number_is_said_too():
    assert "something odd" in str(refused(OSError("something odd"), "/store"))
