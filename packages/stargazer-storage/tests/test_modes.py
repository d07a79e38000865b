"""The rule of modes: STARGAZER_MODE and the project's own .flyte/config.yaml; what else lies about changes nothing."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError
from stargazer.storage.settings import EXAMPLE, Settings, project_config

ENDPOINT = "dns:///flyte.example.org"
NAMING = f"admin:\n  endpoint: {ENDPOINT}\n  insecure: true\n"
ELSEWHERE = "admin:\n  endpoint: dns:///elsewhere.example.org\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def load(home: Path, project: Path):
    def load(folder: Path | None = None, **variables: str) -> Settings:
        return Settings.load(
            {"HOME": str(home), "STARGAZER_HOME": str(home / "sg"), **variables}, folder or project
        )

    return load


def configure(folder: Path, text: str | bytes = NAMING) -> Path:
    file = folder / ".flyte" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


# the six combinations


def test_unset_without_an_endpoint_is_local(load):
    settings = load()

    assert (settings.mode, settings.flyte_endpoint, settings.flyte_config) == ("local", "", None)
    assert "not set" in settings.mode_reason


def test_unset_with_an_endpoint_is_cloud(load, project):
    file = configure(project)

    settings = load()

    assert (settings.mode, settings.flyte_endpoint, settings.flyte_config) == ("cloud", ENDPOINT, file)
    assert ENDPOINT in settings.mode_reason
    assert str(file) in settings.mode_reason
    assert settings.origins["mode"] == str(file)


def test_local_without_an_endpoint_is_local(load):
    settings = load(STARGAZER_MODE="local")

    assert (settings.mode, settings.flyte_endpoint) == ("local", "")
    assert settings.mode_reason == "STARGAZER_MODE is 'local'"


def test_local_with_an_endpoint_is_local_and_says_what_is_not_used(load, project):
    configure(project)

    settings = load(STARGAZER_MODE="local")

    assert (settings.mode, settings.flyte_endpoint, settings.flyte_config) == ("local", "", None)
    assert f"the endpoint {ENDPOINT}" in settings.mode_reason
    assert "not used" in settings.mode_reason


def test_cloud_without_an_endpoint_is_an_error_that_says_what_to_write_where(load):
    with pytest.raises(ConfigurationError, match=r"^STARGAZER_MODE is 'cloud'") as error:
        load(STARGAZER_MODE="cloud")

    assert ".flyte/config.yaml" in str(error.value)
    assert EXAMPLE in str(error.value)


def test_cloud_with_an_endpoint_is_cloud(load, project):
    file = configure(project)

    settings = load(STARGAZER_MODE="cloud")

    assert (settings.mode, settings.flyte_endpoint, settings.flyte_config) == ("cloud", ENDPOINT, file)


# which file is the project's own


def test_what_the_error_says_to_write_is_enough(load, project):
    configure(project, EXAMPLE)

    assert load(STARGAZER_MODE="cloud").flyte_endpoint.startswith("dns:///")


def test_the_mode_of_the_configuration_file_counts_like_the_variable(load, home, project):
    configure(project)
    (home / "sg").mkdir()
    (home / "sg" / "config.toml").write_text('mode = "local"\n')

    settings = load()

    assert settings.mode == "local"
    assert "config.toml" in settings.mode_reason


def test_the_root_of_the_git_repository_above_counts(load, project):
    (project / ".git").mkdir()
    file = configure(project)
    (project / "a" / "b").mkdir(parents=True)

    assert load(project / "a" / "b").flyte_config == file


def test_a_worktree_is_a_repository_too(load, project):
    (project / ".git").write_text("gitdir: /elsewhere\n")
    configure(project)
    (project / "a").mkdir()

    assert load(project / "a").mode == "cloud"


def test_the_nearest_repository_is_the_project(load, project):
    (project / ".git").mkdir()
    configure(project)
    (project / "inner" / ".git").mkdir(parents=True)

    assert load(project / "inner").mode == "local"


def test_the_folder_itself_comes_before_the_root(load, project):
    (project / ".git").mkdir()
    configure(project, ELSEWHERE)
    configure(project / "a")

    assert load(project / "a").flyte_endpoint == ENDPOINT


def test_a_folder_above_that_is_no_repository_does_not_count(load, project):
    configure(project)
    (project / "a").mkdir()

    assert load(project / "a").mode == "local"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_does_not_count(load, project):
    (project / ".git").mkdir()
    os.chown(project / ".git", 12345, 12345)
    configure(project)
    (project / "a").mkdir()

    assert load(project / "a").mode == "local"


@pytest.mark.parametrize("place", [".flyte/config.yaml", ".union/config.yaml"])
def test_a_file_in_home_changes_nothing(load, home, place):
    file = home / place
    file.parent.mkdir()
    file.write_text(NAMING)
    (home / ".git").mkdir()
    (home / "work").mkdir()

    for folder in (home, home / "work"):
        assert load(folder).mode == "local"
        with pytest.raises(ConfigurationError, match="HOME"):
            load(folder, STARGAZER_MODE="cloud")


def test_home_under_another_name_is_home(tmp_path, home):
    configure(home)
    (tmp_path / "link").symlink_to(home)

    assert project_config(tmp_path / "link", {"HOME": str(home)}) is None


@pytest.mark.parametrize("text", [NAMING, "samples: [a, b]\n", "not: [yaml"])
def test_any_other_config_yaml_changes_nothing(load, project, text):
    (project / "config.yaml").write_text(text)

    assert load().mode == "local"
    with pytest.raises(ConfigurationError, match=r"another config\.yaml"):
        load(STARGAZER_MODE="cloud")


@pytest.mark.parametrize(
    "variables",
    [
        {"FLYTE_ADMIN_ENDPOINT": ENDPOINT},
        {"FLYTE_API_KEY": base64.b64encode(b"flyte.example.org:client:secret:org").decode()},
        {"UCTL_CONFIG": "/nowhere/config.yaml"},
        {"FLYTECTL_CONFIG": "/nowhere/config.yaml"},
        {"_U_EP_OVERRIDE": "localhost:8090"},
    ],
)
def test_a_variable_of_flyte_makes_nothing_cloud_by_itself(load, variables):
    assert load(**variables).mode == "local"


# what counts where cloud is asked for


def test_an_api_key_is_an_endpoint_and_stays_secret(load):
    key = base64.b64encode(b"flyte.example.org:client:very-secret:org").decode()

    settings = load(STARGAZER_MODE="cloud", FLYTE_API_KEY=key)

    assert (settings.flyte_endpoint, settings.flyte_config) == ("flyte.example.org", None)
    assert "FLYTE_API_KEY" in settings.mode_reason
    for secret in (key, "very-secret", "client"):
        assert secret not in repr(settings)


@pytest.mark.parametrize("key", ["%%%", "c2VjcmV0", base64.b64encode(b"\xff\xfe").decode()])
def test_a_damaged_api_key_is_named_and_not_shown(load, key):
    with pytest.raises(ConfigurationError, match="FLYTE_API_KEY") as error:
        load(STARGAZER_MODE="cloud", FLYTE_API_KEY=key)

    assert key not in str(error.value)


@pytest.mark.parametrize("variable", ["UCTL_CONFIG", "FLYTECTL_CONFIG"])
def test_a_file_that_a_variable_names_counts(load, tmp_path, variable):
    file = configure(tmp_path / "elsewhere")

    settings = load(STARGAZER_MODE="cloud", **{variable: str(file)})

    assert (settings.flyte_endpoint, settings.flyte_config) == (ENDPOINT, file)
    assert variable in settings.mode_reason


def test_flyte_s_variable_replaces_the_endpoint_of_the_file(load, project):
    configure(project, ELSEWHERE)

    settings = load(FLYTE_ADMIN_ENDPOINT=ENDPOINT)

    assert settings.flyte_endpoint == ENDPOINT
    assert "FLYTE_ADMIN_ENDPOINT" in settings.mode_reason


def test_a_task_s_pod_has_an_endpoint(load):
    assert load(STARGAZER_MODE="cloud", _U_EP_OVERRIDE="localhost:8090").flyte_endpoint == "localhost:8090"


def test_a_password_in_an_endpoint_is_not_shown(load, project):
    configure(project, "admin: {endpoint: 'https://user:very-secret@flyte.example.org'}")

    settings = load()

    assert settings.flyte_endpoint == "https://flyte.example.org"
    assert "very-secret" not in repr(settings)


# nonsense in the project's own file

NO_ENDPOINT = ["", "# nothing\n", "admin:\n", "admin: {}\n", "admin: {endpoint: }\n", "admin: {endpoint: ''}\n",
               "task: {project: p}\n"]  # fmt: skip
NONSENSE = ["[", "admin: [1, 2]", "- admin", "text", "admin: {endpoint: 5}", "admin: {endpoint: [a]}",
            "admin: {endpoint: '  '}", 'admin: {endpoint: "a\\nb"}', b"\xff\xfe\x00", b"\0", "a: &a [*a, *b]",
            "!!python/object/apply:os.system [true]", "a: " + "[" * 5000, "? {a: b}\n: c\n? [x]\n: y",
            "a: 2020-99-99"]  # fmt: skip


@pytest.mark.parametrize("text", NO_ENDPOINT)
def test_a_file_without_an_endpoint_is_local(load, project, text):
    configure(project, text)

    assert load().mode == "local"
    with pytest.raises(ConfigurationError, match="nothing names a Flyte endpoint"):
        load(STARGAZER_MODE="cloud")


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_named_and_does_not_matter_in_local_mode(load, project, text):
    file = configure(project, text)

    for mode in ("", "cloud"):
        with pytest.raises(ConfigurationError, match="STARGAZER_MODE=local") as error:
            load(STARGAZER_MODE=mode)
        assert repr(str(file)) in str(error.value)
    assert load(STARGAZER_MODE="local").mode == "local"


@pytest.mark.parametrize("kind", ["folder", "dangling"])
def test_what_cannot_be_read_is_named_and_does_not_matter_in_local_mode(load, project, kind):
    file = project / ".flyte" / "config.yaml"
    if kind == "folder":
        file.mkdir(parents=True)
    else:
        file.parent.mkdir()
        file.symlink_to(project / "nowhere")

    with pytest.raises(ConfigurationError, match="cannot be read") as error:
        load()

    assert str(file) in str(error.value)
    assert load(STARGAZER_MODE="local").mode == "local"


def test_a_current_folder_that_is_gone_is_no_project(home, tmp_path):
    code = (
        "import os, pathlib; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from stargazer.storage.settings import Settings; print(Settings.load().mode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"HOME": str(home), "STARGAZER_HOME": str(home / "sg")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("local\n", "")


def test_yaml_is_not_imported_where_there_is_no_file(home, project):
    code = "import sys; from stargazer.storage.settings import Settings; Settings.load(); print('yaml' in sys.modules)"
    env = {"HOME": str(home), "STARGAZER_HOME": str(home / "sg")}

    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=env, capture_output=True, check=True)

    assert done.stdout == b"False\n"
