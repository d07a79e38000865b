"""`stargazer promote-task` on a copy of the checkout: a cell that was run becomes a task with a test, and back."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from stargazer.mcp.promotion.checkout import Checkout
from stargazer.mcp.promotion.installation import entry_points_text

from .command import COMMAND, Command, mounted
from .promotion_notebooks import TASK, checkout_copy, environment_of, notebook

HELPERS = '''
NAME = "lines.csv"


def counted(text: str) -> int:
    """Lines of a text."""
    return len(text.splitlines())
'''
WORDS = (
    TASK.replace("count_lines", "count_words").replace("splitlines()", "split()").replace("lines", "words")
)
CELLS = (
    TASK.replace('"lines.csv"', "NAME").replace("len(text.splitlines())", "counted(text)"),
    HELPERS,
    WORDS.replace('"words.csv"', "NAME"),
    "from stargazer.storage import add",
    "await add(Path(__file__).with_name('example.vcf'), build='example')\nthere = True",
    "assert there\nprint((await count_lines(await Variants.one())).cid, (await count_words(await Variants.one())).cid)",
)
VCF = """\
##fileformat=VCFv4.2
##contig=<ID=chr1>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\texample
chr1\t100\t.\tA\tG\t50\tPASS\t.\tGT\t0/1
"""


# what needs no copy


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which task and where it goes: NOTEBOOK.py::NAME --to MODULE.py"),
        (["x.py::y"], "say which task and where it goes"),
        (["x.py::y", "--undo"], "--undo takes no words"),
        (["--undo", "--dry-run"], "--dry-run is not for `promote-task --undo`"),
    ],
)
def test_a_line_that_says_too_little_or_too_much_is_status_two(
    words: list[str], said: str, stargazer: Command
) -> None:
    status, _, err = stargazer("promote-task", *words)
    assert status == 2
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.py", "--to", "tasks/lines.py"], "'x.py' does not say which task; expected NOTEBOOK.py::NAME"),
        (["x.py::y", "--to", "workflows/lines.py"], "only tasks are promoted"),
        (["x.py::y", "--to", "tasks/lines.py"], "x.py cannot be read: No such file or directory"),
        (["--undo"], "nothing was promoted into"),
    ],
)
def test_what_cannot_be_done_is_status_one(words: list[str], said: str, stargazer: Command) -> None:
    status, _, err = stargazer("promote-task", *words)
    assert status == 1
    assert said in err


def test_a_cell_that_was_never_run_has_no_case(
    tmp_path: Path, stargazer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiment.py").write_text(notebook(TASK))
    status, _, err = stargazer("promote-task", "experiment.py::count_lines", "--to", "tasks/lines.py")
    assert status == 1
    assert "htslib.count_lines was never run in experiment.py" in err
    assert "run the cell 'counting' first" in err


# the whole way, in a copy


@attrs.frozen
class Laboratory:
    """A copy of the checkout, and a notebook that was run beside it.

    Attributes:
        cids: what its tasks gave.
    """

    checkout: Checkout
    notebook: Path
    home: Path
    cids: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which the command is that of the copy."""
        places = {"STARGAZER_HOME": str(self.home), "STARGAZER_LOCAL": str(self.home / "local")}
        found = environment_of(self.checkout)
        return {**found, **places, "PYTHONPATH": f"{self.installed.parent}{os.pathsep}{found['PYTHONPATH']}"}

    @property
    def installed(self) -> Path:
        """The metadata of an editable installation of the copy."""
        return self.home.with_name("site") / "stargazer_tasks-0.1.0.dist-info"

    def run(self, *words: str | Path, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [*(prefix or []), *map(str, words)]
        return subprocess.run(
            command, env=self.environment, cwd=self.checkout.root, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip

    def promote(
        self, name: str, to: str, *words: str, prefix: list[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(
            *COMMAND, "promote-task", f"{self.notebook}::{name}", "--to", to, *words, prefix=prefix
        )

    def content(self) -> dict[str, bytes]:
        root = self.checkout.root
        files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    folder = tmp_path_factory.mktemp("laboratory")
    (folder / "checkout").mkdir()
    (folder / "notebooks").mkdir()
    path = folder / "notebooks" / "experiment.py"
    path.write_text(notebook(*CELLS))
    path.with_name("example.vcf").write_text(VCF)
    made = Laboratory(checkout_copy(folder / "checkout"), path, folder / "home")
    made.installed.mkdir(parents=True)
    made.installed.joinpath("METADATA").write_text(
        "Metadata-Version: 2.4\nName: stargazer-tasks\nVersion: 0.1.0\n"
    )
    made.installed.joinpath("entry_points.txt").write_text(entry_points_text(made.checkout))
    said = {"url": made.checkout.package.as_uri(), "dir_info": {"editable": True}}
    made.installed.joinpath("direct_url.json").write_text(json.dumps(said))
    done = made.run(sys.executable, path)
    assert done.returncode == 0, done.stderr
    return attrs.evolve(made, cids=tuple(done.stdout.split()))


@pytest.fixture
def untouched(laboratory: Laboratory) -> Iterator[dict[str, bytes]]:
    """What is in the copy, which a test leaves as it was."""
    before = laboratory.content()
    yield before
    assert laboratory.content() == before


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_task_goes_into_the_package_with_its_checks_and_back(
    laboratory: Laboratory, untouched: dict[str, bytes]
) -> None:
    root, python = laboratory.checkout.root, sys.executable
    points = laboratory.installed / "entry_points.txt"
    known = points.read_text()
    dry = laboratory.promote("count_lines", "tasks/lines.py", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert laboratory.content() == untouched

    done = laboratory.promote("counting", "tasks/lines.py", "--yes")
    assert done.returncode == 0, done.stderr
    assert points.read_text() == known.replace(
        "summary = stargazer.tasks.scrna.summary\n",
        "summary = stargazer.tasks.scrna.summary\nlines = stargazer.tasks.lines\n",
    )
    assert "install stargazer-tasks again" not in done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "htslib.count_lines is in stargazer.tasks.lines:"
    now = laboratory.content()
    assert sorted(line.strip() for line in said[1:]) == sorted(
        name for name, data in now.items() if untouched.get(name) != data
    )
    patched = subprocess.run(
        ["git", "apply", "--reverse", "--check", "-"], input=dry.stdout, cwd=root, text=True
    )
    assert patched.returncode == 0  # the dry run said what was written
    again = laboratory.promote("count_words", "tasks/lines.py", "--yes")  # shares a constant with the first
    assert again.returncode == 0, again.stderr
    module = (root / "packages/stargazer-tasks/src/stargazer/tasks/lines.py").read_text()
    assert module.count("NAME = ") == 1
    assert '__all__ = ["count_lines", "count_words"]' in module

    tests = [
        "packages/stargazer-tasks/tests/unit",
        "packages/stargazer-mcp/tests/test_front_pages.py",
        "packages/stargazer-workflows/tests/test_catalogue.py",
    ]
    checks = [
        ["-m", "ruff", "check", "--no-cache", "packages/stargazer-tasks", ".ci"],
        ["-m", "ruff", "format", "--no-cache", "--check", "packages/stargazer-tasks", ".ci"],
        ["-m", "mypy", "--cache-dir", os.devnull],
        [".ci/check_layers.py"],
        [".ci/catalogue.py", "--check"],
        [".ci/server_reference.py", "--check"],
        [".ci/chat_rules.py", "--check"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
    ]
    for check in checks:
        checked = laboratory.run(python, *check)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    unit = (root / tests[0] / "test_count_lines.py").read_text()
    assert laboratory.cids[0] in unit  # what the cell gave is what the package gives

    path = root / "packages/stargazer-tasks/src/stargazer/tasks/lines.py"
    path.write_text(module.replace("len(text.splitlines())", "len(text.splitlines()) + 1"))
    broken = laboratory.run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{tests[0]}/test_count_lines.py"
    )
    assert broken.returncode == 1
    assert "1 failed" in broken.stdout
    refused = laboratory.run(*COMMAND, "promote-task", "--undo")
    assert "lines.py changed since htslib.count_words was promoted" in refused.stderr
    path.write_text(module)
    for task in ("count_words", "count_lines"):
        undone = laboratory.run(*COMMAND, "promote-task", "--undo")
        assert undone.stdout.startswith(f"htslib.{task} is not promoted any more;"), undone.stderr
    assert points.read_text() == known


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_does_not_work_outside_of_its_notebook_is_not_written(
    laboratory: Laboratory, untouched: dict[str, bytes]
) -> None:
    text = laboratory.notebook.read_text()
    try:
        laboratory.notebook.write_text(text.replace("return len(text.splitlines())", "return len(text)"))
        edited = laboratory.promote("count_lines", "tasks/lines.py", "--yes")
        assert edited.returncode == 1
        assert "Run the cell again, and promote it then" in edited.stderr
        laboratory.notebook.write_text(text.replace("return len(text.splitlines())", "return text"))
        untyped = laboratory.promote("count_lines", "tasks/lines.py", "--yes")
        assert "mypy says Incompatible return value type" in untyped.stderr
        assert "experiment.py:" in untyped.stderr
        laboratory.notebook.write_text(text.replace("return len(text.splitlines())", "return len(text)"))
        assert laboratory.run(sys.executable, laboratory.notebook).returncode == 0
        laboratory.notebook.write_text(text)  # the edit is taken back, and what it was before is remembered
        unasked = laboratory.promote("count_lines", "tasks/lines.py")
        assert "1 file (" in unasked.stderr
        assert "Say --yes if that is meant" in unasked.stderr
    finally:
        laboratory.notebook.write_text(text)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_read_only_checkout_is_left_alone_and_a_read_only_notebook_is_read(
    laboratory: Laboratory, untouched: dict[str, bytes]
) -> None:
    root, folder = laboratory.checkout.root, laboratory.notebook.parent
    listed = sorted(folder.iterdir())
    bound = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"'
    done = laboratory.promote("count_lines", "tasks/lines.py", "--yes", prefix=mounted(bound, root))
    assert done.returncode == 1
    assert "cannot be written (Read-only file system); nothing was changed" in done.stderr
    done = laboratory.promote("count_lines", "tasks/lines.py", "--dry-run", prefix=mounted(bound, folder))
    assert done.returncode == 0, done.stderr
    assert "+++ b/packages/stargazer-tasks/src/stargazer/tasks/lines.py" in done.stdout
    assert sorted(folder.iterdir()) == listed


@pytest.mark.long
@pytest.mark.timeout(600)
def test_people_are_asked_before_files_are_copied(
    laboratory: Laboratory, untouched: dict[str, bytes]
) -> None:
    terminal, other = pty.openpty()
    words = [*COMMAND, "promote-task", f"{laboratory.notebook}::count_lines", "--to", "tasks/lines.py"]
    with subprocess.Popen(
        words,
        env=laboratory.environment,
        cwd=laboratory.checkout.root,
        stdin=other,
        stdout=-1,
        stderr=-1,
        text=True,
    ) as process:
        os.write(terminal, b"n\n")
        _, err = process.communicate(timeout=120)
    os.close(terminal)
    os.close(other)
    assert "variants, samples" in err
    assert "Reads may be personal. Continue? [y/N]" in err
    assert "nothing was written" in err
    assert process.returncode == 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_promotion_that_is_killed_leaves_nothing(
    laboratory: Laboratory, untouched: dict[str, bytes]
) -> None:
    words = [
        *COMMAND,
        "promote-task",
        f"{laboratory.notebook}::count_lines",
        "--to",
        "tasks/lines.py",
        "--yes",
    ]
    journals = laboratory.home / "promotions"
    process = subprocess.Popen(
        words, env=laboratory.environment, cwd=laboratory.checkout.root, stdout=-3, stderr=-3
    )
    while process.poll() is None and not list(journals.glob("*/journal.json")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    undone = laboratory.run(*COMMAND, "promote-task", "--undo")
    assert undone.returncode == 0, undone.stderr
