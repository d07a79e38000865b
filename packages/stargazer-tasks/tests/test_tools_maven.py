"""Tools from Maven: a lock's jars brought from a mirror, verified, and run by the Java of a wheel."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from stargazer.tasks import gatk
from stargazer.tasks.tools import Session, use_session
from stargazer.tasks.tools.jars import Jars, read_lock

CONTENTS = {f"part{number}": f"jar {number} ".encode() * (1000 * number + 1) for number in range(5)}


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A Maven repository in a folder."""
    root = tmp_path / "mirror"
    for name, content in CONTENTS.items():
        jar = root / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        jar.parent.mkdir(parents=True)
        jar.write_bytes(content)
    return root


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "tool.lock"
    lines = [
        f"org.example:{name}:1.0 {hashlib.sha256(content).hexdigest()} {len(content)}"
        for name, content in CONTENTS.items()
    ]
    path.write_text("\n".join(["# a tool of five jars", *lines, ""]))
    return path


def jars(lock: Path, folder: Path) -> Jars:
    return Jars("tool", read_lock(lock), folder, Path("/no/java"), "jre==1")


def test_stargazer_maven_is_where_jars_come_from(
    tmp_path: Path, mirror: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_MAVEN", mirror.as_uri())
    tool = jars(lock, tmp_path / "tools")

    tool.install()

    assert tool.is_ready()
    assert {path.name: path.read_bytes() for path in tool.folder.glob("part*-1.0.jar")} == {
        f"{name}-1.0.jar": content for name, content in CONTENTS.items()
    }


@pytest.mark.jvm
def test_gatk_runs(gatk_home: Path, tmp_path: Path) -> None:
    reference = tmp_path / "x.fa"
    reference.write_text(">chr1\nACGT\n")
    session = Session(tmp_path, tmp_path / "log", {"gatk": gatk.resolve({})}, memory=1 << 30)

    async def main() -> None:
        with use_session(session):
            await gatk("CreateSequenceDictionary", "-R", reference, "--URI", "x.fa")

    asyncio.run(main())

    assert "SN:chr1\tLN:4" in (tmp_path / "x.dict").read_text()
    assert session.commands == [["gatk", "CreateSequenceDictionary", "-R", "x.fa", "--URI", "x.fa"]]
