"""The equipment of these tests: a suite of tests of its own, to see what packages/conftest.py makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONFTEST = next(
    folder / "conftest.py" for folder in Path(__file__).parents[1:] if (folder / "conftest.py").exists()
)
FAR = 100  # seconds, of which each suite takes a few: reached only if one hangs
SETTINGS = """
[pytest]
addopts = --import-mode=importlib --strict-markers -ra
timeout = 60
timeout_method = signal
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a module of tests with our equipment of tests, and gives the exit status and what was printed."""

    def run(text: str, *options: str, path: str = os.defpath, **replaced: str) -> tuple[int, str]:
        folder = tmp_path / "suite"
        folder.mkdir()
        equipment = CONFTEST.read_text()
        for old, new in {"Path(tempfile.gettempdir(), ": f"Path({str(folder)!r}, ", **replaced}.items():
            assert old in equipment
            equipment = equipment.replace(old, new)
        (folder / "conftest.py").write_text(equipment)
        (folder / "pytest.ini").write_text(SETTINGS)
        (folder / "test_it.py").write_text(text)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "JAVA_"))
        }
        environment = {**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": path}
        plugins = ["-p", "xdist", "-p", "xdist.looponfail", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, *options], cwd=folder, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=FAR, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run
