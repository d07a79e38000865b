"""A bare flyte.run does what the mode says, in real child processes; what lies about changes nothing."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Script = Callable[..., subprocess.CompletedProcess[str]]

IMPORTS = """
import flyte
from stargazer.tasks.execution import AssetEnvironment, WorkflowEnvironment
"""
TASK = """
env = {kind}(name="probe")

@env.task
async def double(number: int) -> int:
    print("RAN HERE", flush=True)
    return 2 * number
"""
RUN = """
print("RESULT", list(flyte.run(double, 21).outputs()))
"""
KINDS = ["AssetEnvironment", "WorkflowEnvironment"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The current folder of the script, which lies in it: Flyte bundles what is there."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "script.py").touch()
    return tmp_path / "project"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def endpoint(project: Path, closed_port: int) -> str:
    """The project's own file names an endpoint."""
    address = f"dns:///127.0.0.1:{closed_port}"
    write_config(project / ".flyte" / "config.yaml", address)
    return address


@pytest.fixture
def script(tmp_path: Path, project: Path) -> Script:
    """Runs a script in the project's folder, with a HOME of its own and the variables given."""

    def run(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
        file = project / "script.py"
        file.write_text(text)
        environ = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        environ |= {
            "HOME": str(tmp_path / "home"),
            "STARGAZER_HOME": str(tmp_path / "sg"),
            "DO_NOT_TRACK": "1",
        }
        (tmp_path / "home").mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, file], cwd=project, env=environ | variables, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    return run


def write_config(file: Path, address: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"admin: {{endpoint: '{address}', insecure: true}}\ntask: {{project: p, domain: d, org: o}}\n"
    )


def ran_here(done: subprocess.CompletedProcess[str]) -> bool:
    assert ("RAN HERE" in done.stdout) == ("RESULT [42]" in done.stdout), done.stdout + done.stderr
    return done.returncode == 0 and "RESULT [42]" in done.stdout


def tried(done: subprocess.CompletedProcess[str], address: str) -> bool:
    return (
        done.returncode != 0 and "RAN HERE" not in done.stdout and address in done.stderr
        and "Service is unavailable" in done.stdout + done.stderr
    )  # fmt: skip


# the six combinations


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["", "local"])
def test_without_an_endpoint_it_runs_here(script: Script, mode: str, kind: str) -> None:
    done = script(IMPORTS + TASK.format(kind=kind) + RUN, STARGAZER_MODE=mode)

    assert ran_here(done), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("kind", KINDS)
def test_local_mode_runs_here_though_the_project_names_an_endpoint(
    script: Script, endpoint: str, kind: str
) -> None:
    done = script(IMPORTS + TASK.format(kind=kind) + RUN, STARGAZER_MODE="local")

    assert ran_here(done), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "kind"), [("", "AssetEnvironment"), ("cloud", "WorkflowEnvironment")])
def test_with_an_endpoint_it_is_tried(script: Script, endpoint: str, mode: str, kind: str) -> None:
    done = script(IMPORTS + TASK.format(kind=kind) + RUN, STARGAZER_MODE=mode)

    assert tried(done, endpoint), done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_cloud_mode_without_an_endpoint_runs_nothing_and_says_what_to_write_where(
    script: Script, kind: str
) -> None:
    done = script(IMPORTS + TASK.format(kind=kind) + RUN, STARGAZER_MODE="cloud")

    assert done.returncode != 0
    assert "RAN HERE" not in done.stdout
    assert "admin:\n  endpoint: dns:///" in done.stdout + done.stderr
    assert ".flyte/config.yaml" in done.stdout + done.stderr


def test_a_mistake_in_the_settings_breaks_no_import(script: Script) -> None:
    done = script("import stargazer.tasks.reference; print('FINE')", STARGAZER_MODE="cloud")

    assert (done.stdout, done.returncode) == ("FINE\n", 0), done.stderr


# local mode, and what would connect Flyte


@pytest.mark.parametrize(
    ("mode", "when"), [("", "before"), ("", "after"), ("local", "before"), ("local", "between")]
)
def test_flyte_s_own_set_up_from_a_file_connects_to_nothing_in_local_mode(
    script: Script, tmp_path: Path, closed_port: int, mode: str, when: str
) -> None:
    write_config(tmp_path / "home" / ".flyte" / "config.yaml", f"dns:///127.0.0.1:{closed_port}")
    init = "import flyte; flyte.init_from_config()\n"
    parts = [IMPORTS, TASK.format(kind="WorkflowEnvironment"), RUN]
    parts.insert(["before", "between", "after"].index(when), init)

    done = script("".join(parts), STARGAZER_MODE=mode)

    assert ran_here(done), done.stdout + done.stderr


@pytest.mark.parametrize("variable", ["UCTL_CONFIG", "FLYTE_ADMIN_ENDPOINT"])
def test_variables_of_flyte_change_nothing_in_local_mode(
    script: Script, tmp_path: Path, closed_port: int, variable: str
) -> None:
    address = f"dns:///127.0.0.1:{closed_port}"
    write_config(tmp_path / "elsewhere.yaml", address)
    value = address if variable == "FLYTE_ADMIN_ENDPOINT" else str(tmp_path / "elsewhere.yaml")

    init = "flyte.init_from_config()\n"

    done = script(IMPORTS + TASK.format(kind="WorkflowEnvironment") + init + RUN, **{variable: value})

    assert ran_here(done), done.stderr


@pytest.mark.parametrize("mode", ["", pytest.param("local", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "place", ["project/config.yaml", "home/.union/config.yaml", "home/.flyte/config.yaml"]
)
@pytest.mark.parametrize("what", ["endpoint", "snakemake", "nonsense", "folder"])
def test_other_files_change_nothing(
    script: Script, tmp_path: Path, project: Path, closed_port: int, mode: str, place: str, what: str
) -> None:
    file = tmp_path / place
    write_config(file, f"dns:///127.0.0.1:{closed_port}")
    if what == "snakemake":
        file.write_text("samples: [a, b]\nimage: {registry: example.org}\nlocal: {persistence: true}\n")
    elif what == "nonsense":
        file.write_bytes(b"\xff\xfe[")
    elif what == "folder":
        file.unlink()
        file.mkdir()
    before = {path for folder in (project, tmp_path / "home") for path in folder.rglob("*")}

    done = script(IMPORTS + TASK.format(kind="WorkflowEnvironment") + RUN, STARGAZER_MODE=mode)

    assert ran_here(done), done.stdout + done.stderr
    assert {path for folder in (project, tmp_path / "home") for path in folder.rglob("*")} == before


@pytest.mark.parametrize("nonsense", ["[", "admin: 5"])
def test_a_damaged_file_of_the_project_matters_unless_the_mode_is_local(
    script: Script, project: Path, nonsense: str
) -> None:
    (project / ".flyte").mkdir()
    (project / ".flyte" / "config.yaml").write_text(nonsense)
    text = IMPORTS + TASK.format(kind="WorkflowEnvironment") + RUN

    assert ran_here(script(text, STARGAZER_MODE="local"))
    unset = script(text)
    assert unset.returncode != 0
    assert "RAN HERE" not in unset.stdout
    assert re.search(r"\.flyte/config\.yaml'.*STARGAZER_MODE=local", unset.stdout + unset.stderr, re.DOTALL)


def test_a_current_folder_that_is_gone_changes_nothing(script: Script) -> None:
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
    done = script(IMPORTS + gone + TASK.format(kind="WorkflowEnvironment") + RUN, STARGAZER_MODE="local")

    assert ran_here(done), done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take root's right to read everything")
def test_folders_that_cannot_be_read_change_nothing(tmp_path: Path, project: Path, script: Script) -> None:
    # given a process that may read what everybody may read, in a folder and with a HOME that it cannot enter
    drop = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "[libc.prctl(24, number) for number in (1, 2)]\n"  # PR_CAPBSET_DROP: DAC_OVERRIDE, DAC_READ_SEARCH
        "os.execv(sys.executable, [sys.executable, sys.argv[1]])\n"
    )
    inner = tmp_path / "inner.py"
    inner.write_text(
        IMPORTS + "import os\nassert not os.access('.', os.R_OK | os.X_OK)\n"
        + TASK.format(kind="WorkflowEnvironment") + RUN
    )  # fmt: skip
    (tmp_path / "home").mkdir()
    code = f"import os, sys; sys.argv = ['', {str(inner)!r}]\nos.chmod('.', 0); os.chmod(os.environ['HOME'], 0)\n"

    done = script(code + drop, STARGAZER_MODE="local")

    assert ran_here(done), done.stdout + done.stderr


# cloud mode, and what would disturb it


@pytest.mark.slow
def test_another_config_yaml_does_not_win_over_the_project_s_own(
    script: Script, project: Path, endpoint: str
) -> None:
    write_config(project / "config.yaml", "dns:///127.0.0.1:1")

    done = script(IMPORTS + TASK.format(kind="WorkflowEnvironment") + RUN)

    assert tried(done, endpoint), done.stdout + done.stderr


@pytest.mark.slow
def test_a_process_in_cloud_mode_may_be_started_by_one_in_local_mode(script: Script, endpoint: str) -> None:
    done = script(IMPORTS + TASK.format(kind="WorkflowEnvironment") + RUN, FLYTE_ADMIN_ENDPOINT="")

    assert tried(done, endpoint), done.stdout + done.stderr


def test_an_endpoint_that_flyte_cannot_use_is_named_and_nothing_runs(script: Script, project: Path) -> None:
    write_config(project / ".flyte" / "config.yaml", "ftp://flyte.example.org")

    done = script(IMPORTS + TASK.format(kind="WorkflowEnvironment") + RUN)

    assert done.returncode != 0
    assert "RAN HERE" not in done.stdout
    assert "ftp://flyte.example.org" in done.stdout + done.stderr


def test_in_the_pod_of_a_task_flyte_is_left_alone(script: Script, endpoint: str) -> None:
    text = (
        IMPORTS
        + TASK.format(kind="WorkflowEnvironment")
        + "import os; print(os.environ['FLYTE_ADMIN_ENDPOINT'])"
    )

    done = script(text, _U_EP_OVERRIDE="localhost:9", FLYTE_ADMIN_ENDPOINT="kept")

    assert done.stdout == "kept\n", done.stderr
    assert done.stderr == ""


# another mode, chosen while it runs


def test_a_process_can_change_its_mode_and_back(script: Script, endpoint: str) -> None:
    change = """
import os
from stargazer.storage import Settings
from stargazer.tasks.execution import use_mode

def told():
    print(Settings.load().mode, flyte.is_control_plane_available(), os.environ.get("STARGAZER_MODE"))

told()
use_mode("cloud")
told()
use_mode("local")
told()
"""
    done = script(
        IMPORTS + TASK.format(kind="AssetEnvironment") + change + RUN,
        STARGAZER_MODE="local", PINATA_JWT="a-token-of-a-test",
    )  # fmt: skip

    assert done.stdout.splitlines()[:3] == ["local False local", "cloud True cloud", "local False local"], (
        done.stderr
    )
    assert ran_here(done)


def test_a_mode_that_cannot_be_is_refused_and_changes_nothing(script: Script, endpoint: str) -> None:
    change = """
import os
from stargazer.assets import ConfigurationError
from stargazer.tasks.execution import use_mode
try:
    use_mode("cloud")
except ConfigurationError as error:
    print(error)
print(os.environ.get("STARGAZER_MODE"))
"""
    done = script(IMPORTS + TASK.format(kind="AssetEnvironment") + change + RUN, STARGAZER_MODE="local")

    refusal, mode, *_ = done.stdout.splitlines()
    assert refusal.startswith("cloud mode keeps files on Pinata, but PINATA_JWT is not set"), done.stderr
    assert mode == "local"
    assert ran_here(done)
