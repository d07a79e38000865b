"""Tries edits in a copy of the checkout: the pages of docs/ that follow from them are made there, types are checked.

Nothing of the checkout is touched. A process in the copy has its sources before the installed ones, and entry points as
the copy's pyproject.toml has them, so that a new module counts before anybody installs it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import attrs
from stargazer.mcp.promotion.cells import PromotionError
from stargazer.mcp.promotion.checkout import PACKAGE, Checkout
from stargazer.mcp.promotion.installation import entry_points_text
from stargazer.mcp.promotion.regression import SECRETS

__all__ = ["PAGES", "Trial", "trial"]

PAGES = {
    ".ci/catalogue.py": "docs/catalogue.md",
    ".ci/server_reference.py": "docs/server.md",
    ".ci/chat_rules.py": "packages/stargazer-mcp/src/stargazer/mcp/marimo.toml",
}
COPIED = ("packages", ".ci", "docs", "pyproject.toml", "hatch.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", ".venv", "dist", "node_modules")
SECONDS = 300


@attrs.frozen
class Trial:
    """A copy of a checkout.

    Attributes:
        checkout: the copy.
        entry_points: a folder on the path of its processes, with its entry points.
    """

    checkout: Checkout
    entry_points: Path

    def put(self, files: Mapping[Path, bytes], checkout: Checkout) -> None:
        """Write files of a checkout into the copy."""
        for path, data in files.items():
            place = self.checkout.root / path.relative_to(checkout.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python in the copy, without the secrets of this process.

        Raises:
            PromotionError: it is not over in time.
        """
        sources = sorted(self.checkout.root.glob("packages/*/src"))
        path = os.pathsep.join(map(str, [self.entry_points, *sources]))
        kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
        try:
            return subprocess.run(
                [sys.executable, *words],
                cwd=self.checkout.root,
                env={**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PromotionError(
                f"`python {' '.join(words[:2])}` was not over after {SECONDS} s; promote again when the machine has "
                "less to do"
            ) from None

    def page(self, script: str) -> dict[Path, bytes]:
        """The page that a script makes, as it follows from the copy, by its path in it.

        Raises:
            PromotionError: it cannot be made.
        """
        page = self.checkout.root / PAGES[script]
        if not (self.checkout.root / script).is_file():
            return {}
        done = self.run(script)
        if done.returncode != 0:
            raise PromotionError(
                f"{PAGES[script]} cannot be made with the task ({script}): {_last(done.stderr or done.stdout, 5)}"
            )
        return {page: page.read_bytes()}

    def type_errors(self, module: Path) -> list[tuple[int, str]]:
        """What mypy finds in a module of the copy, by lines; nothing where mypy is not installed."""
        if importlib.util.find_spec("mypy") is None:
            return []
        name = str(module.relative_to(self.checkout.root))
        options = ["--no-error-summary", "--hide-error-context", "--no-pretty", "--cache-dir", os.devnull]
        done = self.run("-m", "mypy", *options, name)
        found = re.findall(rf"^{re.escape(name)}:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
        return [(int(line), said) for line, said in found]


def _last(text: str, lines: int) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def _fill(copy: Checkout, checkout: Checkout) -> None:
    for name in COPIED:
        source = checkout.root / name
        if source.is_dir():
            shutil.copytree(source, copy.root / name, ignore=LEFT_OUT, symlinks=True)
        elif source.is_file():
            shutil.copy(source, copy.root / name)


@contextlib.contextmanager
def trial(checkout: Checkout, edits: Mapping[Path, bytes]) -> Iterator[Trial]:
    """A copy of a checkout with edits, for as long as a `with` block.

    Raises:
        PromotionError: there is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="stargazer-promotion-") as folder:
        copy = Checkout(Path(folder).resolve() / "checkout")
        copy.root.mkdir()
        points = copy.root.with_name("entry_points")
        made = Trial(copy, points)
        try:
            _fill(copy, checkout)
            made.put(edits, checkout)
        except OSError as error:  # of several files shutil raises an error of its own
            said = error.args[0][0][2] if isinstance(error, shutil.Error) else error
            raise PromotionError(
                f"no copy of the checkout can be made in {folder} to try the task in: {said}; free some space there, "
                "or set TMPDIR to a folder that has more. Nothing was written"
            ) from None
        _write_metadata(copy, points)
        yield made


def _write_metadata(copy: Checkout, folder: Path) -> None:
    """The metadata of the copy's stargazer-tasks, found before those of the installed one."""
    installed = metadata.distribution(PACKAGE)
    place = folder / f"{PACKAGE.replace('-', '_')}-{installed.version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(installed.read_text("METADATA") or "", encoding="utf-8")
    (place / "entry_points.txt").write_text(entry_points_text(copy), encoding="utf-8")
