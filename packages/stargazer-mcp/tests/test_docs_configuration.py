"""docs/configuration.md: its table has every variable there is, as it is, and each has a test of its effect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from stargazer.storage import VARIABLES, Settings

ROOT = (Path(__file__) / "../../../..").resolve()
if not (ROOT / "packages").is_dir():
    pytest.skip("docs/ is in the repository alone, not in this distribution", allow_module_level=True)

PAGE = (ROOT / "docs" / "configuration.md").read_text()
ROW = re.compile(r"^\| `((?:STARGAZER|PINATA)_[A-Z_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = {row[0]: row[1:] for row in ROW.findall(PAGE)}
ELSEWHERE = {
    "STARGAZER_TOOLS",
    "STARGAZER_DEBUG",
    "STARGAZER_NOTEBOOKS",
    "STARGAZER_NOTEBOOK_TOKEN",
    "STARGAZER_SERVE_TOKENS",
}
"""Variables that are no settings: read where they are used."""
INTERNAL = {"STARGAZER_PARENT", "STARGAZER_TASK_MEMORY", "STARGAZER_TEST_DATA"}
"""Variables that people do not set: of a tool's process, and of our tests."""

STORAGE = "stargazer-storage/tests/test_settings_effects.py"
TASKS = "stargazer-tasks/tests/test_settings_effects_tasks.py"
EFFECTS = {
    "STARGAZER_MODE": (STORAGE, "test_stargazer_mode_makes_storage_pinata_or_an_error"),
    "STARGAZER_HOME": (STORAGE, "test_stargazer_home_is_where_the_file_and_the_store_are"),
    "STARGAZER_LOCAL": (STORAGE, "test_stargazer_local_is_the_store"),
    "STARGAZER_INDEX": (STORAGE, "test_stargazer_index_is_where_the_index_lies"),
    "STARGAZER_CORES": (TASKS, "test_stargazer_cores_is_how_many_tasks_of_one_core_run_at_once"),
    "STARGAZER_MEMORY": (TASKS, "test_stargazer_memory_is_how_many_tasks_of_a_gigabyte_run_at_once"),
    "STARGAZER_TOOLS": (TASKS, "test_stargazer_tools_is_where_a_tool_comes_from"),
    "STARGAZER_MAVEN": (
        "stargazer-tasks/tests/test_tools_maven.py",
        "test_stargazer_maven_is_where_jars_come_from",
    ),
    "STARGAZER_DEBUG": ("stargazer-mcp/tests/test_cli_main.py", "test_the_traceback_is_shown_on_request"),
    "STARGAZER_NOTEBOOKS": (
        "stargazer-mcp/tests/test_gallery.py",
        "test_stargazer_notebooks_is_where_the_gallery_comes_from",
    ),
    "STARGAZER_NOTEBOOK_TOKEN": (
        "stargazer-mcp/tests/test_notebook_server.py",
        "test_a_token_is_given_by_the_environment_and_marimo_asks_for_it",
    ),
    "STARGAZER_SERVE_TOKENS": (
        "stargazer-mcp/tests/test_mcp_http.py",
        "test_tokens_may_come_from_the_environment",
    ),
    "PINATA_JWT": (STORAGE, "test_pinata_jwt_sends_files_to_the_account_and_without_it_nothing_is_sent"),
    "PINATA_GATEWAY": (STORAGE, "test_pinata_gateway_is_where_public_files_come_from"),
    "PINATA_GATEWAY_TOKEN": (STORAGE, "test_pinata_gateway_token_opens_the_gateway_and_goes_nowhere_else"),
    "PINATA_VISIBILITY": (STORAGE, "test_pinata_visibility_is_that_of_what_is_added"),
    "PINATA_API": (STORAGE, "test_pinata_api_and_pinata_uploads_are_where_requests_go"),
    "PINATA_UPLOADS": (STORAGE, "test_pinata_api_and_pinata_uploads_are_where_requests_go"),
}
"""The test of what each variable does. That of the mode on where tasks run is test_flyte_mode.py of the tasks."""


def test_the_table_has_every_variable() -> None:
    assert set(ROWS) == set(VARIABLES.values()) | ELSEWHERE


def test_the_code_reads_no_other() -> None:
    read = {
        name
        for path in ROOT.glob("packages/*/src/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in re.findall(r"^(?:STARGAZER|PINATA)_[A-Z_]+$", node.value)
    }

    assert read <= set(ROWS) | INTERNAL


@pytest.mark.parametrize("variable", ROWS)
def test_each_variable_has_a_test_of_its_effect(variable: str) -> None:
    file, test = EFFECTS[variable]
    text = (ROOT / "packages" / file).read_text()
    body = text.partition(f"def {test}(")[2].partition("\ndef ")[0]

    assert body, f"{file} has no {test}"
    assert variable in body or f'"{variable}"' in text.partition("\ndef test_")[0]


@pytest.mark.parametrize(("name", "variable"), VARIABLES.items())
def test_the_key_and_the_default_are_as_the_table_says(name: str, variable: str, tmp_path: Path) -> None:
    key, default, _ = ROWS[variable]
    settings = Settings.load({"STARGAZER_HOME": str(tmp_path), "HOME": str(tmp_path)}, tmp_path)

    assert key == f"`{name}`" or name == "home"
    if name.startswith("pinata_"):
        assert default == (f"`{getattr(settings, name)}`" if getattr(settings, name) else "unset")
