"""The note image, as far as can be told without building it: its settings, its entry, and what its page says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "images" / "note"
if not FOLDER.exists():
    pytest.skip("images/ is in the repository alone, not in this distribution", allow_module_level=True)

CONTAINERFILE = (FOLDER / "Containerfile").read_text()
PAGE = (ROOT / "docs" / "note-image.md").read_text()
DOCUMENTED = "docker run -p 8080:8080 ghcr.io/stargazerbio/stargazer:note"


def entry(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the entry of the image becomes, with programs that only print how they were called."""
    for name in ("stargazer", "stargazer-mcp", "marimo"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "${0##*/}" "$@"\n')
        program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = ["sh", FOLDER / "note", *words]
    return subprocess.run(command, env={"PATH": path}, text=True, capture_output=True, check=False)


def test_the_documented_line_is_on_the_page_and_its_port_is_the_one_that_the_image_has(
    tmp_path: Path,
) -> None:
    assert DOCUMENTED in PAGE
    assert "EXPOSE 8080" in CONTAINERFILE
    for word, command in (("edit", "stargazer notebook"), ("app", "stargazer notebook --app")):
        called = entry(tmp_path, word).stdout.strip()
        assert called == f"{command} --folder /data/notebooks --host 0.0.0.0 --port 8080 --no-browser"
    assert 'CMD ["edit"]' in CONTAINERFILE
    assert entry(tmp_path).stdout == entry(tmp_path, "edit").stdout


def test_its_commands_are_started_as_they_are_and_other_words_are_refused(tmp_path: Path) -> None:
    called = entry(tmp_path, "stargazer", "add", "two words.fa", "$HOME")
    refused = entry(tmp_path, "bash", "-c", "true")

    assert called.stdout == "stargazer add two words.fa $HOME\n"
    assert (refused.returncode, refused.stdout) == (2, "")
    assert (
        "expected edit, app, marimo, stargazer or stargazer-mcp, and their arguments; got 'bash'"
        in refused.stderr
    )


def test_options_after_edit_and_app_are_those_of_the_command_that_there_is(tmp_path: Path) -> None:
    from stargazer.mcp.cli import main

    for word in ("edit", "app"):
        _, *words = entry(tmp_path, word, "--help").stdout.split()
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        with pytest.raises(SystemExit) as ended:
            main([*words[:-1], "--port", "nonsense"])
        assert ended.value.code == 2  # every option before it was understood


def test_its_variables_point_into_the_volume_and_to_what_the_builder_put_there() -> None:
    variables = dict(
        re.findall(r"^(?:ENV| {3}) (\w+)=(\S+)", CONTAINERFILE[CONTAINERFILE.rindex("FROM") :], re.MULTILINE)
    )

    assert "VOLUME /data" in CONTAINERFILE
    assert variables["HOME"] == "/data"
    assert variables["STARGAZER_HOME"].startswith("/data/")
    assert f"COPY notebooks/ {variables['STARGAZER_NOTEBOOKS']}/" in CONTAINERFILE
    assert f"jars.py {variables['STARGAZER_MAVEN'].removeprefix('file://')}\n" in CONTAINERFILE


def test_every_word_of_the_entry_is_on_the_page() -> None:
    for word in (
        "stargazer:note app",
        "marimo run",
        "--include-code",
        "STARGAZER_NOTEBOOK_TOKEN",
        "--token-file",
    ):
        assert word in PAGE
