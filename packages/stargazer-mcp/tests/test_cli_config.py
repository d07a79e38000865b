"""`stargazer config`: which mode, why, every setting with its origin, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.mcp.cli.doctor import examine
from stargazer.storage import VARIABLES

ENDPOINT = "dns:///flyte.example.org"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, whose own file names an endpoint; no mode is set."""
    (tmp_path / ".flyte").mkdir()
    (tmp_path / ".flyte" / "config.yaml").write_text(f"admin: {{endpoint: '{ENDPOINT}'}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STARGAZER_MODE")
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
    assert main(["config", "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_which_mode_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    out = capsys.readouterr().out

    assert "mode       local: STARGAZER_MODE is 'local'\n" in out
    assert f"storage    in {os.environ['STARGAZER_LOCAL']}; nothing leaves this machine" in out
    assert "execution  on this machine\n" in out
    for variable in VARIABLES.values():
        assert f" {variable} " in out


def test_it_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys)

    assert list(Path(os.environ["STARGAZER_HOME"]).iterdir()) == []


def test_cloud_mode(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINATA_JWT", "very-secret")

    found = answer(capsys)

    assert (found["mode"], found["storage"]["kind"]) == ("cloud", "pinata")
    assert found["execution"] == {
        "kind": "remote",
        "endpoint": ENDPOINT,
        "flyte_config": str(project / ".flyte" / "config.yaml"),
    }
    assert main(["config"]) == 0
    assert f"execution  Flyte at {ENDPOINT}" in capsys.readouterr().out


def test_cloud_mode_without_a_token_is_shown_and_fails(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "PINATA_JWT" in answer(capsys, status=1)["storage"]["missing"]
    # doctor, in a process of its own: it imports tasks, and their definition connects Flyte in cloud mode
    done = subprocess.run(
        [sys.executable, "-m", "stargazer.mcp.cli", "doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        "BROKEN    cloud                cloud mode keeps files on Pinata, and PINATA_JWT is not set"
        in done.stdout
    )


def test_cloud_mode_without_an_endpoint_says_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STARGAZER_MODE", "cloud")

    assert main(["config"]) == 1

    assert "admin:\n  endpoint: dns:///" in capsys.readouterr().err


def test_local_mode_with_a_token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINATA_JWT", "very-secret")
    monkeypatch.setenv("PINATA_VISIBILITY", "public")

    found = answer(capsys)

    assert (found["storage"]["kind"], found["storage"]["visibility"]) == ("pinata", "public")
    assert found["execution"]["kind"] == "local"


def test_each_setting_has_its_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(os.environ["STARGAZER_HOME"])
    (home / "config.toml").write_text('cores = 3\npinata_gateway_token = "very-secret-too"\n')
    monkeypatch.setenv("PINATA_JWT", "very-secret")

    text = json.dumps(found := answer(capsys))

    settings = {item["name"]: item for item in found["settings"]}
    assert list(settings) == list(VARIABLES)
    assert (settings["cores"]["value"], settings["cores"]["origin"]) == ("3", str(home / "config.toml"))
    assert (settings["pinata_jwt"]["value"], settings["pinata_jwt"]["origin"]) == ("set", "PINATA_JWT")
    assert settings["index"]["value"] == "not set"
    assert settings["pinata_api"]["origin"] == "default"
    assert "very-secret" not in text


def test_doctor_asks_no_network_where_pinata_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINATA_JWT", "very-secret")
    monkeypatch.setenv("PINATA_API", "http://127.0.0.1:1")

    findings = examine()

    assert not [finding for finding in findings if finding.state == "broken"]
    assert "very-secret" not in str(findings)


def test_it_takes_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["config", "mode=cloud"])

    assert "config.toml" in capsys.readouterr().err
