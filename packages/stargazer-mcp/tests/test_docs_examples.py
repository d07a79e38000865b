"""The pages in docs/ and the README files: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gzip
import inspect
import linecache
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.assets import REGISTRY, File, load_asset_types
from stargazer.mcp.cli import VERBS, main
from stargazer.mcp.cli.console import KEY_VALUE
from stargazer.storage import VARIABLES
from stargazer.workflows import convert, entries, find_entry
from stargazer.workflows.best_practices import HARD_FILTERS

ROOT = (Path(__file__) / "../../../..").resolve()
DOCS = ROOT / "docs"
if not (ROOT / "packages").is_dir():
    pytest.skip("docs/ is in the repository alone, not in this distribution", allow_module_level=True)

PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "AGENTS.md",
    *PAGES,
    *sorted(ROOT.glob("packages/*/README.md")),
]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:\$ |^(?: {4})?)((?:hatch run )?stargazer (?!--)\S.*)", re.MULTILINE)
INLINE = re.compile(r"`((?:hatch run )?stargazer [^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
WORDS_OF_RECORDS = {"asset", "cid", "id", "provenance_cid"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks_of(page: Path) -> list[str]:
    return PYTHON.findall(page.read_text())


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of every `stargazer VERB ...` that is shown, without what a shell would take for itself."""
    text = page.read_text()
    indented = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    shown = "\n".join([*BLOCK.findall(text), indented])
    for line in [*COMMAND.findall(shown), *INLINE.findall(text)]:
        words = shlex.split(re.split(r" [|>#;] |  +", line)[0].removeprefix("hatch run ").rstrip("\\"))
        yield words[1:]


@pytest.fixture
def clean_registry() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=named)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # a page may add to it
    module = types.ModuleType(f"docs_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for number, block in enumerate(blocks_of(page), 1):
        name = f"<{named(page)}, block {number}>"
        linecache.cache[name] = (
            len(block),
            None,
            block.splitlines(keepends=True),
            name,
        )  # for the code digest
        made = eval(compile(block, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), vars(module))
        if inspect.iscoroutine(made):
            asyncio.run(made)
    for name, value in vars(module).items():
        if name.startswith("test_"):
            (folder := tmp_path / name).mkdir()
            value(folder)


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_every_command_that_is_shown_can_be_typed(page: Path) -> None:
    load_asset_types()
    fields = {name for cls in REGISTRY.values() for name in cls.fields()} | WORDS_OF_RECORDS
    for words in commands_of(page):
        if not words or words[0] in ("...", "VERB"):
            continue
        assert words[0] in VERBS, f"no verb {words[0]!r} in: stargazer {shlex.join(words)}"
        pairs = dict(match.groups() for word in words[1:] if (match := KEY_VALUE.fullmatch(word)))
        if words[0] == "run" and len(words) > 1 and words[1].islower() and pairs:
            of_sheet = {"samples": "S"} if "--samplesheet" in words else {}
            convert(find_entry(words[1]), of_sheet | pairs)
        elif words[0] in ("add", "query", "get", "rm", "why"):
            own = {key for key in pairs if File.takes(key)} if pairs.get("asset") == "file" else set()
            assert pairs.keys() - own <= fields, f"no such field in: stargazer {shlex.join(words)}"


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)} links to {link}"
        if anchor:
            slugs = {
                re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-")
                for h in HEADING.findall(target.read_text())
            }
            assert anchor in slugs, f"{named(page)} links to {link}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_that_is_shown_is_in_the_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main([verb, "--help"])
    said = capsys.readouterr().out
    for page in TEXTS:
        for words in commands_of(page):
            options = {word for word in words[1:] if word.startswith("--") and word != "--"}
            assert words[:1] != [verb] or all(option in said for option in options), f"{named(page)}: {words}"


BAD_INPUT = {
    "nowhere.fa": (None, "add nowhere.fa build=x"),
    "empty_R1.fq": (b"", "add empty_R1.fq sample=S"),
    "text_R1.fq": (b"hello\n", "add text_R1.fq sample=S"),
    "short_R1.fq": (b"@r\nACGT\n+\nIII\n", "add short_R1.fq sample=S"),
    "cut_R1.fq.gz": (gzip.compress(b"@r\nACGT\n+\nIIII\n")[:-9], "add cut_R1.fq.gz sample=S"),
    "calls.vcf": (b"ID\tx\n", "add calls.vcf samples=S"),
    "spaces.bed": (b"chr1 0 10\n", "add spaces.bed name=b"),
    "notes.txt": (b"x\n", "add notes.txt"),
    "missing field": (b">c\nACGT\n", "add x.fa"),
    "unknown field": (b"x\n", "add x.bam smaple=S"),
    "unknown type": (b"x\n", "add x.bam asset=alignmnt sample=S"),
    "value out of range": (b"x\n", "add x.bam sample=S sorted_by=name"),
    "unknown filter": (None, "query sampel=S"),
    "unknown workflow": (None, "run germline"),
    "missing argument": (None, "run germline_short_variant_discovery samples=S"),
    "no reads": (None, "run germline_short_variant_discovery samples=S build=GRCh38"),
    "unknown verb": (None, "qeury"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_answered_as_the_page_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content, line = BAD_INPUT[name]
    if content is not None:
        Path(line.split()[1]).write_bytes(content)

    assert main(line.split()) in (1, 2)

    said = capsys.readouterr().err.removeprefix("stargazer: error: ")
    shown = re.findall(r"^\|[^|]+\| `([^`]+)`", (DOCS / "errors.md").read_text(), re.MULTILINE)
    patterns = [".*".join(map(re.escape, message.split("..."))) for message in shown]
    assert any(re.match(pattern, said, re.DOTALL) for pattern in patterns), said


def test_the_page_on_storage_names_every_setting() -> None:
    text = (DOCS / "storage.md").read_text()
    assert [variable for variable in VARIABLES.values() if f"| `{variable}` |" not in text] == []


def test_the_readme_of_the_workflows_lists_them() -> None:
    text = (ROOT / "packages/stargazer-workflows/README.md").read_text()
    rows = [f"| `{entry.name}` | {entry.summary} |" for entry in entries("workflow")]
    assert [row for row in rows if row not in text] == []


@pytest.mark.parametrize("script", ["catalogue.py", "server_reference.py", "chat_rules.py"])
def test_a_reference_is_as_the_code_has_it(script: str) -> None:
    done = subprocess.run(  # in a process that knows no tasks of other tests
        [sys.executable, ROOT / ".ci" / script, "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hard_filters_are_those_of_the_page() -> None:
    rows = re.findall(r"`((?:LowQual30|SNV_|Indel_)[^`]*)` \| `([^`]+)`", (DOCS / "workflows.md").read_text())
    applied = {name: expression.rpartition(" && ")[2] for name, expression in HARD_FILTERS.items()}
    assert dict(rows) == applied


def test_the_index_names_every_page() -> None:
    linked = set(LINK.findall((DOCS / "README.md").read_text()))
    assert {page.name for page in PAGES} - {"README.md"} <= linked
