"""What the images pin, as far as can be told without building them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).resolve().parents[3] / "images"
if not FOLDER.exists():
    pytest.skip("images/ is in the repository alone, not in this distribution", allow_module_level=True)

PACKAGES = FOLDER.parent / "packages"
CONTAINERFILES = sorted(FOLDER.glob("*/Containerfile"))
EXTRAS = {
    extra
    for path in CONTAINERFILES
    for extra in re.search(r"^ARG EXTRAS=(\S+)", path.read_text(), re.MULTILINE)[1].split(",")
}
PYTHONS = ("3.11", "3.12", "3.13")


def needed() -> Iterator[Requirement]:
    """What the five distributions require, with the extras that an image has."""
    for path in sorted(PACKAGES.glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {})
        for text in [*project["dependencies"], *(item for extra in EXTRAS for item in extras.get(extra, []))]:
            if not text.startswith("stargazer-"):
                yield Requirement(text)


def test_what_the_images_pin_is_what_the_distributions_ask_for() -> None:
    lines = re.findall(r"^[\w.-]+==.*?(?= \\$)", (FOLDER / "requirements.txt").read_text(), re.MULTILINE)
    pinned = [Requirement(line) for line in lines]
    refused = []
    for python in PYTHONS:
        here = {"python_version": python, "python_full_version": f"{python}.9", "extra": ""}
        fixed = {
            found.name: str(found.specifier).removeprefix("==")
            for found in pinned
            if found.marker is None or found.marker.evaluate(here)
        }
        refused += [
            f"Python {python}: {wanted}, and the lock has {fixed.get(wanted.name)}"
            for wanted in needed()
            if (wanted.marker is None or wanted.marker.evaluate(here))
            and not wanted.specifier.contains(fixed.get(wanted.name, "0"), prereleases=True)
        ]

    assert not refused, f"{refused}: `hatch run ci:chat-image --lock` writes it anew"


def test_every_package_has_its_digest() -> None:
    locks = [FOLDER / "requirements.txt", *FOLDER.glob("tools.txt"), *FOLDER.glob("*/tools.txt")]
    assert len(locks) >= 2 + len(list(FOLDER.glob("*/tools.in")))
    for path in locks:
        entries = re.split(r"\n(?=\S)", path.read_text().strip())
        assert entries
        assert not [entry for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_an_image_is_of_the_wheels_by_the_lock_for_a_user_other_than_root(path: Path) -> None:
    text = path.read_text()

    assert "--constraints requirements.txt" in text
    assert "--find-links wheels" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "1000:1000"
    assert not re.search(r"https?://|pip\.conf|index-url|TOKEN|PASSWORD", text)
