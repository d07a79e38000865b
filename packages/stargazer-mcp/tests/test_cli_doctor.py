"""`stargazer doctor`: it finds what is there, what is missing, and what breaks us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.mcp.cli import main
from stargazer.mcp.cli.doctor import Finding, examine


def found(topic: str, name: str) -> Finding:
    return next(finding for finding in examine() if (finding.topic, finding.name) == (topic, name))


def test_a_good_installation_is_status_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("stargazer-mcp", "STARGAZER_HOME", "free space", "samtools", "wheel pysam=="):
        assert word in out


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert {"topic", "name", "text", "state", "remedy"} == set(json.loads(capsys.readouterr().out)[0])


def test_it_changes_nothing() -> None:
    examine()
    assert not Path(os.environ["STARGAZER_LOCAL"]).exists()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINATA_JWT", "very-secret")
    findings = examine()
    assert "very-secret" not in str(findings)
    assert "set" in next(finding.text for finding in findings if finding.name == "pinata_jwt")


def test_where_a_setting_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["STARGAZER_HOME"])
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text("cores = 3\n")
    monkeypatch.setenv("STARGAZER_MEMORY", "4G")
    assert found("settings", "cores").text == f"3  [{home / 'config.toml'}]"
    assert found("settings", "memory").text == "4.3 GB  [STARGAZER_MEMORY]"
    assert found("settings", "mode").text == "local  [STARGAZER_MODE]"


def test_a_wrong_setting_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "many")
    assert main(["doctor"]) == 1
    assert "STARGAZER_CORES" in capsys.readouterr().out


def test_somebody_elses_stargazer_is_found(tmp_path: Path) -> None:
    (tmp_path / "stargazer").mkdir()
    (tmp_path / "stargazer" / "__init__.py").write_text("")
    code = (
        "import sys; from stargazer.mcp.cli.doctor import examine; sys.path.append(sys.argv[1]); "
        "print([f.remedy for f in examine() if f.state == 'broken'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "pip uninstall stargazer" in done.stdout


def test_a_missing_tool_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    tool = found("tools", "bwa-mem2")
    assert tool.state == "optional"
    assert "conda install" in tool.remedy


@pytest.mark.parametrize("variable", ["STARGAZER_HOME", "STARGAZER_LOCAL"])
def test_a_folder_that_cannot_be_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN" in out
    assert str(tmp_path / "file") in out


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_home_of_somebody_else_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    home = found("settings", "home")
    tmp_path.chmod(0o700)
    assert home.state == "broken"
    assert "cannot be written" in home.text
