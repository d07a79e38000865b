"""The regression test that comes with a promoted task: its files, and how it is run for the first time."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from stargazer.assets import ConfigurationError, InvalidAssetError, ToolError
from stargazer.mcp.promotion.case import Case
from stargazer.mcp.promotion.checkout import Checkout
from stargazer.mcp.promotion.extraction import FOLDER, SECRET, Promoted
from stargazer.mcp.promotion.module import formatted
from stargazer.mcp.promotion.unit_test import unit_test

__all__ = ["AnotherResult", "Outcome", "regression_files", "run_case"]

SECONDS = 1800  # of the test and all that starts it: it has a limit of its own
MOST_LINES, WIDTH = 15, 200  # of what is shown of pytest's output
CID = re.compile(r"\b(?:bafk|bafy|Qm)\w{20,}")
SECRETS = ("GITHUB_TOKEN", "GH_TOKEN", "PINATA_JWT", "PINATA_GATEWAY_TOKEN")
ATTRIBUTES = "* -text\n"


class AnotherResult(ToolError):
    """A task gives the same each time, and not what its cell gave in the run that its test is made of."""


@attrs.frozen
class Outcome:
    """What became of a test that was run.

    Attributes:
        seconds: that it took, with pytest's start.
        skipped: why it was not run; empty if it passed.
    """

    seconds: float
    skipped: str = ""


def regression_files(promoted: Promoted, checkout: Checkout, case: Case, source: str) -> dict[Path, bytes]:
    """The test of a promoted task and the files that it reads, by their places in the checkout.

    Args:
        source: of the module that the task is promoted into, as it will be.

    Raises:
        InvalidAssetError: a test, or data, of this name are there; or an argument seems to be a path of this machine or
            a secret.
    """
    test = checkout.unit_tests / f"test_{promoted.function}.py"
    folder = checkout.test_data / promoted.function
    for there in (test, folder):
        if there.exists():
            raise InvalidAssetError(
                f"{str(there.relative_to(checkout.root))!r} is there already: remove it if it is no longer used, or "
                "give the task another name"
            )
    files = {folder / file.name: file.path.read_bytes() for file in case.files}
    attributes = checkout.test_data / ".gitattributes"
    if files and not attributes.exists():
        files[attributes] = ATTRIBUTES.encode()  # git must not change the ends of lines: CIDs are of bytes
    text = unit_test(promoted, case, source)
    found = next(
        filter(None, (kind.search(word) for word in _words(text) for kind in (FOLDER, SECRET))), None
    )
    if found is not None:
        what = "a path of this machine" if found.re is FOLDER else "a secret"
        shown = f" ({found[0]!r})" if found.re is FOLDER else ""
        raise InvalidAssetError(
            f"what the last run of {promoted.task} was given or gave has {what}{shown}, as it seems, and would be in "
            "the repository with the test: run the cell without it"
        )
    files[test] = formatted(text, test).encode()
    return files


def _words(text: str) -> Iterator[str]:
    """The texts in a module, each whole however it is written."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def run_case(checkout: Checkout, test: Path) -> Outcome:
    """Run a promoted task's test for the first time, with the code of the checkout.

    Raises:
        AnotherResult: it fails, for the cell's run was one of other code, or of other tools.
        ToolError: it fails; the text has the lines that say how, and what that means.
    """
    began = time.monotonic()
    status, told = _run_pytest(checkout, test)
    if status == 0:
        skipped = re.search(r"^SKIPPED \[\d+\] \S+ (.*)", told, re.MULTILINE)
        return Outcome(time.monotonic() - began, skipped[1] if skipped else "")
    lines, found = _useful(told), _compared(told)
    again = _compared(_run_pytest(checkout, test)[1]) if found else []
    name, kind = test.relative_to(checkout.root), ToolError
    if found and again != found:
        meaning = (
            "the task is not deterministic: two runs of it gave different files. Leave dates, paths, thread counts "
            "and random numbers without a seed out of what it writes (docs/tasks.md), run the cell again, and promote "
            "it then"
        )
    elif found:
        kind = AnotherResult
        meaning = (
            "the task gives the same each time, and something else than its cell gave: the cell was edited after its "
            "last run, or tools have other versions since. Run the cell again, and promote it then"
        )
    else:
        meaning = "it does not run outside of its notebook"
    shown = [f"  {line[:WIDTH]}" for line in lines[:MOST_LINES]]
    raise kind("\n".join([f"the test {str(name)!r} fails: {meaning}", *shown]))


def _run_pytest(checkout: Checkout, test: Path) -> tuple[int, str]:
    """The status and the output of pytest on one module, with what is in the checkout before what is installed."""
    sources = [str(path) for path in sorted(checkout.root.glob("packages/*/src"))]
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    environment["PYTHONPATH"] = os.pathsep.join([*sources, *filter(None, [environment.get("PYTHONPATH")])])
    options = ["-rs", "-vv", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, str(test)]
    try:
        done = subprocess.run(
            command,
            cwd=checkout.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"the test {str(test)!r} was not over after {SECONDS // 60} minutes") from None
    if "No module named pytest" in done.stdout:
        raise ConfigurationError(
            f"pytest is not installed beside {sys.executable}: use `hatch run test:stargazer promote-task ...`, or "
            "pip install pytest pytest-timeout"
        )
    return done.returncode, done.stdout


def _useful(told: str) -> list[str]:
    """Of pytest's output the lines that say what is wrong."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return [line[1:].strip() for line in lines if line.startswith("E ")] or lines


def _compared(told: str) -> list[str]:
    """The CIDs that a comparison of pytest's names; not those of provenance, which tells the time."""
    return CID.findall(re.sub(r"provenance_cid='\w*'", "", "\n".join(_useful(told))))
