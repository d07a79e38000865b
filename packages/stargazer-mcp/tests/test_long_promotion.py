"""A task goes the whole way: from a cell that ran on real reads to a pull request with its test, and back."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .command import serving

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="tasks are promoted in a git checkout"),
]
pytest.importorskip("marimo", reason="NOT TESTED: pip install 'stargazer-mcp[notebook]'")

NOTEBOOK = '''
import marimo

__generated_with = "0.25.2"
app = marimo.App()

with app.setup:
    from typing import NamedTuple

    import flyte
    import marimo as mo
    from stargazer.assets import R1, R2, Table
    from stargazer.storage import add
    from stargazer.tasks import expect, htslib_env, samtools, workspace

    flyte.init_from_config()


@app.class_definition
class CountedReads(NamedTuple):
    """Reads of a pair, counted.

    Attributes:
        table: reads of each file.
        total: reads of both.
    """

    table: Table
    total: int


@app.function
@htslib_env.task
async def count_reads16(r1: R1, r2: R2, least: int = 0) -> CountedReads:
    """Reads of a pair that have at least so many bases (`samtools view -c`).

    Args:
        r1: first reads.
        r2: second reads.
        least: bases.

    Returns:
        A table of both files, and the sum.
    """
    numbers = {}
    for name, reads in (("r1", r1), ("r2", r2)):
        numbers[name] = int(await samtools("view", "-c", "-e", f"length(seq)>={least}", reads.path).text())
    table = workspace() / "reads.csv"
    table.write_text("file,reads\\n" + "".join(f"{name},{number}\\n" for name, number in numbers.items()))
    counts = Table(path=expect(table, by="samtools view"), kind="read_counts", sample=r1.sample)
    return CountedReads(counts, sum(numbers.values()))


@app.cell
async def _():
    import os

    folder = os.environ["STARGAZER_TEST_DATA"] + "/tp53/NA12829_TP53_"
    r1, r2 = await add([f"{folder}R1.fq.gz", f"{folder}R2.fq.gz"], sample="NA12829", lane="L001")
    return r1, r2


@app.cell
async def _(r1, r2):
    counted = await count_reads16(r1, r2, least=50)
    print(counted.table.cid)
    return


if __name__ == "__main__":
    app.run()
'''


class Clone:
    """A clone of this repository as it is on disk, used by this Python."""

    def __init__(self, root: Path, url: str):
        self.root = root
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\0"
        )
        for name in filter(None, names):
            if (ROOT / name).is_file():  # not what was removed and is not committed yet
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, root / name)
        sources = [str(path) for path in sorted(root.glob("packages/*/src"))]
        identity = {
            f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self.environment = {
            **os.environ,
            **identity,
            "PYTHONPATH": os.pathsep.join(sources),
            "GITHUB_TOKEN": "ghp_secret16",
            "GITHUB_API_URL": url,
        }
        subprocess.run(["git", "init", "--quiet", "--bare", str(root.with_name("origin.git"))], check=True)
        address = "https://github.com/lab/stargazer.git"
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.name", "A")
        self.git("config", "user.email", "a@example.org")
        self.git("remote", "add", "origin", address)
        self.git("config", f"url.{root.with_name('origin.git')}.pushInsteadOf", address)
        self.git("add", "--force", ".")
        self.git("commit", "--quiet", "-m", "As it is")

    def run(self, *words: object, status: int = 0) -> str:
        """What a command prints, ended with the status expected."""
        done = subprocess.run(
            list(map(str, words)),
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def git(self, *words: str) -> str:
        return self.run("git", *words).strip()

    def promote(self, *words: object, status: int = 0) -> str:
        return self.run(sys.executable, "-m", "stargazer.mcp.cli", "promote-task", *words, status=status)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A GitHub that takes every pull request: its address, and what was asked of it."""
    asked: list[dict[str, Any]] = []

    class GitHub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({"default_branch": "main"})

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.reply({"html_url": "https://github.com/lab/stargazer/pull/16"})

        def reply(self, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with serving(GitHub) as url:
        yield url, asked


def test_from_a_cell_to_a_pull_request_and_back(
    test_data: Path, tmp_path: Path, asked: tuple[str, list[dict[str, Any]]]
) -> None:
    url, requests = asked
    clone = Clone(tmp_path / "clone", url)
    notebook = tmp_path / "experiment.py"
    notebook.write_text(NOTEBOOK)
    word = [f"{notebook}::count_reads16", "--to", "tasks/read_counts16.py"]

    told = clone.promote(*word, status=1)
    assert "htslib.count_reads16 was never run in experiment.py" in told

    cid = clone.run(sys.executable, notebook).split()[-1]
    told = clone.promote(*word, status=1)
    assert "2 files (1.2 MB) would be in the repository" in told
    assert "NA12829_TP53_R1.fq.gz, r1, sample NA12829" in told
    assert clone.git("status", "--porcelain") == ""

    (clone.root / "README.md").write_text("mine\n")
    told = clone.promote(*word, "--yes", "--pull-request")
    assert "pull request: https://github.com/lab/stargazer/pull/16" in told
    (request,) = requests
    assert (request["head"], request["base"]) == ("promote/count_reads16", "main")
    assert cid in request["body"]
    assert str(tmp_path) not in request["body"]
    assert clone.git("branch", "--show-current") == "promote/count_reads16"
    assert clone.git("status", "--porcelain") == "M README.md"
    assert clone.git("ls-remote", str(tmp_path / "origin.git")).split()[0] == clone.git("rev-parse", "HEAD")

    test = "packages/stargazer-tasks/tests/unit/test_count_reads16.py"
    module = clone.root / "packages/stargazer-tasks/src/stargazer/tasks/read_counts16.py"
    pytest_of = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    assert cid in (clone.root / test).read_text()
    assert "1 passed" in clone.run(*pytest_of)
    tools = Path(sys.executable).parent
    clone.run(tools / "ruff", "check", "packages/stargazer-tasks")
    clone.run(tools / "ruff", "format", "--check", "packages/stargazer-tasks")
    clone.run(tools / "lint-imports", "--no-cache")
    clone.run(tools / "mypy", "packages/stargazer-tasks/src")

    whole = module.read_text()
    module.write_text(whole.replace("length(seq)>=", "length(seq)<"))
    assert "1 failed" in clone.run(*pytest_of, status=1)
    assert "changed since htslib.count_reads16 was promoted" in clone.promote("--undo", status=1)

    module.write_text(whole)
    clone.promote("--undo")
    assert clone.git("diff", "--stat", "main", "--", "packages", "docs", ".ci") == ""
    assert not module.exists()
