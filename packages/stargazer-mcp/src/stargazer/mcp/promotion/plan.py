"""Plans a promotion: every file that it changes, whole and in memory, before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from stargazer.assets import ConfigurationError, FormatError
from stargazer.mcp.promotion.cells import check_notebook, read_notebook, refused
from stargazer.mcp.promotion.checkout import Checkout, Target, target_of
from stargazer.mcp.promotion.extraction import Extraction, extract
from stargazer.mcp.promotion.module import (
    changed_catalogue,
    changed_changelog,
    changed_entry_points,
    changed_front_page,
    changed_module,
    notebook_line,
)
from stargazer.mcp.promotion.names import Taken
from stargazer.mcp.promotion.packages import Packages
from stargazer.mcp.promotion.trial import PAGES, Trial, trial

__all__ = ["Plan", "code_edits", "extract_from", "make_plan", "require_tools", "split_place"]


@attrs.frozen
class Plan:
    """What a promotion writes.

    Attributes:
        edits: what is to be in each file.
        seen: what was in each when that was made of it; None where there was none.
        installs: whether the package has to be installed anew, for it has a new entry point.
    """

    edits: Mapping[Path, bytes]
    seen: Mapping[Path, bytes | None]
    installs: bool

    def with_new(self, files: Mapping[Path, bytes]) -> Plan:
        """The same with files that are not there yet."""
        return attrs.evolve(self, edits={**self.edits, **files}, seen={**self.seen, **dict.fromkeys(files)})


def require_tools() -> None:
    """See that what promotes is installed.

    Raises:
        ConfigurationError: it is not.
    """
    from importlib.util import find_spec

    if missing := [name for name in ("marimo", "ruff", "tomlkit") if find_spec(name) is None]:
        raise ConfigurationError(
            f"{', '.join(missing)} is not installed; in a checkout run `hatch run test:stargazer promote-task ...`, "
            "elsewhere pip install 'stargazer-mcp[notebook]'"
        )


def extract_from(notebook: Path, name: str, to: str, checkout: Checkout) -> tuple[Extraction, Target]:
    """Take a task out of a notebook, for a module of a checkout.

    Raises:
        InvalidAssetError: there can be no such module.
        PromotionError: the notebook is broken, has no such task, or something of it cannot be taken.
    """
    target = target_of(checkout, to)
    read = read_notebook(notebook)
    check_notebook(notebook)
    return extract(read, name, target.module, Taken(checkout), Packages(checkout)), target


def code_edits(extraction: Extraction, target: Target, checkout: Checkout) -> Plan:
    """A plan of the package's code: the module, the front page, entry points, catalogue, changelog.

    Raises:
        PromotionError: a name means something else in the module, or ruff finds what it does not mend.
    """
    taken = Taken(checkout)
    changes: dict[Path, Callable[[str], str]] = {
        checkout.front_page: lambda text: changed_front_page(text, extraction, checkout.front_page),
        checkout.pyproject: lambda text: changed_entry_points(text, extraction),
        checkout.catalogue: lambda text: changed_catalogue(text, extraction, target.path, taken),
        checkout.changelog: lambda text: changed_changelog(text, extraction),
    }
    text = _text(target.path) if target.path.exists() else None
    edits = {target.path: changed_module(text, extraction, target.path).encode()}
    seen = {target.path: None if text is None else text.encode()}
    for path, change in changes.items():
        before = _text(path)
        after = change(before)
        if after != before:
            edits[path], seen[path] = after.encode(), before.encode()
    return Plan(edits, seen, installs=checkout.pyproject in edits)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); expected a whole checkout") from None


@contextlib.contextmanager
def make_plan(
    checkout: Checkout, extraction: Extraction, target: Target, code: Plan
) -> Iterator[tuple[Plan, Trial]]:
    """A plan with the pages that follow from the code, and a copy of the checkout as it will be.

    Raises:
        PromotionError: a page cannot be made, or mypy finds something in the module.
    """
    known = {checkout.root / page: _content(checkout.root / page) for page in PAGES.values()}
    with trial(checkout, code.edits) as tried:
        module = tried.checkout.root / target.path.relative_to(checkout.root)
        with ThreadPoolExecutor() as pool:
            errors = pool.submit(tried.type_errors, module)
            pages = [page for made in pool.map(tried.page, PAGES) for page in made.items()]
        _check_types(errors.result(), code.edits[target.path].decode(), extraction)
        edits, seen = dict(code.edits), dict(code.seen)
        for path, data in pages:
            own = checkout.root / path.relative_to(tried.checkout.root)
            if known[own] != data:
                edits[own], seen[own] = data, known[own]
        yield attrs.evolve(code, edits=edits, seen=seen), tried


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _check_types(errors: Sequence[tuple[int, str]], text: str, extraction: Extraction) -> None:
    """See that mypy finds nothing.

    Raises:
        PromotionError: what it finds, by the lines of the notebook.
    """
    if errors:
        raise refused(
            f"{notebook_line(line, text, extraction)}: mypy says {said}; mend it in the cell"
            for line, said in errors
        )


def split_place(word: str) -> tuple[Path, str]:
    """The notebook and the name in `notebooks/scratch/experiment.py::count_lines`.

    Raises:
        FormatError: one of them is missing.
    """
    file, separator, name = word.rpartition("::")
    if not separator or not file or not name:
        raise FormatError(
            f"{word!r} does not say which task; expected NOTEBOOK.py::NAME, such as experiment.py::count_lines"
        )
    return Path(file), name
