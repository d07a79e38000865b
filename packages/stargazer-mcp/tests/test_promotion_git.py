"""The branch, the commit and the pull request of a promotion: real git, a bare repository, a GitHub on this machine."""

from __future__ import annotations

import http.server
import json
import logging
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import ConfigurationError, StorageError, ToolError
from stargazer.mcp.promotion.branch import commit, plan_branch
from stargazer.mcp.promotion.pull_request import find_repository, open_pull_request, push_branch

from .command import serving

if shutil.which("git") is None:
    pytest.skip("no git on PATH", allow_module_level=True)

TOKEN = "ghp_0123456789abcdefTOKEN"
NEW = Path("tasks/lines.py")
OLD = Path("tasks/__init__.pyi")
PATHS = [NEW, OLD]


class Checkout:
    """A git repository with one commit, and a promotion that can be written into it."""

    def __init__(self, root: Path):
        self.root = root
        (root / "tasks").mkdir(parents=True)
        (root / OLD).write_text("from .reference import samtools_faidx\n")
        (root / "notes.txt").write_text("mine\n")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "First")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self) -> None:
        (self.root / NEW).write_text("count = 1\n")
        (self.root / OLD).write_text("from .lines import count\nfrom .reference import samtools_faidx\n")

    def state(self) -> tuple[str, str, str]:
        """The commit, the branches, and what is changed."""
        return self.git("rev-parse", "HEAD"), self.git("branch"), self.git("status", "--porcelain")

    def hook(self, name: str, script: str) -> None:
        path = self.root / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Git as somebody has it who only said who they are; no token."""
    path = tmp_path / "gitconfig"
    path.write_text("[user]\nname = A\nemail = a@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def checkout(tmp_path: Path, config: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_the_commit_has_exactly_the_files_and_other_changes_stay(checkout: Checkout) -> None:
    (checkout.root / "notes.txt").write_text("mine, changed\n")
    (checkout.root / "scratch.txt").write_text("new\n")
    branch = plan_branch(checkout.root, "promote/count", PATHS)
    checkout.write()

    made = commit(branch, PATHS, "Promote count\n\nFrom a cell.\n")

    assert checkout.git("rev-parse", "promote/count") == made
    assert checkout.git("branch", "--show-current") == "promote/count"
    assert checkout.git("show", "--format=%B", "--name-only", made).split() == [
        *("Promote", "count", "From", "a", "cell."),
        *map(str, sorted(PATHS)),
    ]
    assert checkout.git("rev-parse", f"{made}^") == checkout.git("rev-parse", "main")
    assert checkout.git("status", "--porcelain").splitlines() == ["M notes.txt", "?? scratch.txt"]


def test_an_ignored_file_of_the_promotion_is_committed_too(checkout: Checkout) -> None:
    (checkout.root / ".gitignore").write_text("tasks/lines.py\n")
    checkout.git("add", ".gitignore")
    checkout.git("commit", "--quiet", "-m", "Ignore")
    branch = plan_branch(checkout.root, "b", PATHS)
    checkout.write()

    commit(branch, PATHS, "Promote")

    assert checkout.git("show", "b:tasks/lines.py") == "count = 1"


def prepared(checkout: Checkout, what: str, config: Path) -> None:
    """One thing for which no branch is made."""
    match what:
        case "a changed file":
            (checkout.root / OLD).write_text("# changed\n")
        case "a file that git does not know":
            (checkout.root / NEW).write_text("# mine\n")
        case "something staged":
            (checkout.root / "notes.txt").write_text("staged\n")
            checkout.git("add", "notes.txt")
        case "a branch of this name":
            checkout.git("branch", "promote/count")
        case "nobody":
            config.write_text("")
        case "an unfinished merge":
            (checkout.root / ".git" / "MERGE_HEAD").write_text(checkout.git("rev-parse", "HEAD") + "\n")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (
            "a changed file",
            r"changes that are not committed .*tasks/__init__.pyi\): commit or stash them first",
        ),
        ("a file that git does not know", r"not committed .*tasks/lines.py"),
        ("something staged", r"staged for a commit already \(notes.txt\)"),
        ("a branch of this name", r"the branch 'promote/count' exists already: give another name"),
        ("nobody", r"who you are: git config --global user.name"),
        ("an unfinished merge", r"a merge is not finished"),
    ],
)
def test_what_a_branch_cannot_be_made_on_is_refused_before(
    checkout: Checkout, config: Path, what: str, told: str
) -> None:
    prepared(checkout, what, config)
    before = checkout.state()

    with pytest.raises(ConfigurationError, match=told):
        plan_branch(checkout.root, "promote/count", PATHS)

    assert checkout.state() == before


@pytest.mark.parametrize("name", ["-D", "a..b", "a b", "", "HEAD"])
def test_a_name_that_git_does_not_take_is_refused(checkout: Checkout, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name that git takes"):
        plan_branch(checkout.root, name, PATHS)


def test_a_folder_without_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    with pytest.raises(ConfigurationError, match="is no git checkout"):
        plan_branch(tmp_path, "b", PATHS)


@pytest.mark.parametrize("detached", [False, True])
def test_a_hook_that_fails_is_shown_and_leaves_nothing(checkout: Checkout, detached: bool) -> None:
    checkout.hook("pre-commit", "echo 'no tasks on Fridays' >&2; exit 3")
    if detached:
        checkout.git("switch", "--quiet", "--detach")
    before = checkout.state()
    branch = plan_branch(checkout.root, "promote/count", PATHS)
    checkout.write()

    with pytest.raises(ToolError, match="no tasks on Fridays"):
        commit(branch, PATHS, "Promote count")

    assert checkout.git("branch", "--show-current") == ("" if detached else "main")
    assert (checkout.root / NEW).read_text() == "count = 1\n"
    (checkout.root / NEW).unlink()  # the promotion itself is undone by whoever wrote it
    checkout.git("checkout", "--", str(OLD))
    assert checkout.state() == before


def test_a_hook_that_commits_more_is_refused(checkout: Checkout) -> None:
    (checkout.root / "notes.txt").write_text("mine, changed\n")
    checkout.hook("pre-commit", "git add notes.txt")
    branch = plan_branch(checkout.root, "b", PATHS)
    checkout.write()

    with pytest.raises(ToolError, match=r"a hook .* changed what was committed \(notes.txt\)"):
        commit(branch, PATHS, "Promote")

    assert checkout.git("branch") == "* main"
    assert (checkout.root / "notes.txt").read_text() == "mine, changed\n"


# the pull request


class GitHub:
    """A GitHub that has one repository: what it was asked, and how it answers to a new pull request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self.answers: dict[str, tuple[int, Any]] = {
            "GET /repos/lab/stargazer": (200, {"default_branch": "trunk"}),
            "POST /repos/lab/stargazer/pulls": (201, {"html_url": "https://github.com/lab/stargazer/pull/7"}),
        }

    def answer(self, method: str, path: str, body: dict[str, Any], token: str) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        self.tokens.add(token)
        return self.answers.get(f"{method} {path.partition('?')[0]}", (404, {"message": "Not Found"}))


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    github = GitHub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("GET")

        def do_POST(self) -> None:
            self.reply("POST")

        def reply(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers["Authorization"]
            status, answer = github.answer(method, self.path, json.loads(body or "{}"), token)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as url:
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        monkeypatch.setenv("GITHUB_API_URL", url)
        yield github


@pytest.fixture
def origin(checkout: Checkout, tmp_path: Path) -> Checkout:
    """The bare repository that is pushed to as https://github.com/lab/stargazer, with a branch to push."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin.git")], check=True)
    checkout.git("remote", "add", "origin", "https://github.com/lab/stargazer.git")
    checkout.git(
        "config", f"url.{tmp_path / 'origin.git'}.pushInsteadOf", "https://github.com/lab/stargazer.git"
    )
    branch = plan_branch(checkout.root, "promote/count", PATHS)
    checkout.write()
    commit(branch, PATHS, "Promote count")
    return checkout


def pushed(checkout: Checkout) -> str:
    folder = str(checkout.root.parent / "origin.git")
    return checkout.git("--git-dir", folder, "rev-parse", "--verify", "refs/heads/promote/count")


def ask(checkout: Checkout) -> Any:
    repository = find_repository(checkout.root)
    push_branch(checkout.root, repository, "promote/count")
    return open_pull_request(repository, "promote/count", "Promote count", "What it is")


def test_the_branch_is_pushed_and_a_draft_is_opened_into_the_default_branch(
    origin: Checkout, github: GitHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    made = ask(origin)

    assert (made.url, made.is_new) == ("https://github.com/lab/stargazer/pull/7", True)
    assert pushed(origin) == origin.git("rev-parse", "promote/count")
    asked = {
        "title": "Promote count",
        "body": "What it is",
        "head": "promote/count",
        "base": "trunk",
        "draft": True,
    }
    assert github.asked[-1] == ("POST", "/repos/lab/stargazer/pulls", asked)
    assert github.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(find_repository(origin.root))
    assert TOKEN not in (origin.root / ".git" / "config").read_text()


EXISTS = {
    "message": "Validation Failed",
    "errors": [{"message": "A pull request already exists for lab:promote/count."}],
}


def test_a_pull_request_that_is_there_is_named(origin: Checkout, github: GitHub) -> None:
    github.answers["POST /repos/lab/stargazer/pulls"] = (422, EXISTS)
    github.answers["GET /repos/lab/stargazer/pulls"] = (
        200,
        [{"html_url": "https://github.com/lab/stargazer/pull/3"}],
    )

    made = ask(origin)

    assert (made.url, made.is_new) == ("https://github.com/lab/stargazer/pull/3", False)
    assert github.asked[-1][1] == "/repos/lab/stargazer/pulls?head=lab%3Apromote%2Fcount&state=open"


@pytest.mark.parametrize(
    ("asked", "answer", "told"),
    [
        (
            "GET /repos/lab/stargazer",
            (401, {"message": f"Bad credentials {TOKEN}"}),
            "does not take the token: set",
        ),
        (
            "GET /repos/lab/stargazer",
            (404, {"message": "Not Found"}),
            "no repository lab/stargazer, or the token",
        ),
        (
            "POST /repos/lab/stargazer/pulls",
            (403, {"message": "Resource not accessible"}),
            "may not write pull",
        ),
        (
            "POST /repos/lab/stargazer/pulls",
            (422, {"message": "No commits between"}),
            "refuses it .*No commits",
        ),
        ("POST /repos/lab/stargazer/pulls", (502, []), "GitHub fails"),
        ("POST /repos/lab/stargazer/pulls", (301, {"url": "https://elsewhere.example"}), "has moved"),
        ("POST /repos/lab/stargazer/pulls", (201, {}), "does not say where"),
    ],
)
def test_a_refusal_leaves_the_branch_and_says_how_to_go_on(
    origin: Checkout, github: GitHub, asked: str, answer: tuple[int, Any], told: str
) -> None:
    github.answers[asked] = answer

    with pytest.raises(StorageError, match=told) as raised:
        ask(origin)

    assert "is pushed: open it at https://github.com/lab/stargazer/pull/new/promote/count" in str(
        raised.value
    )
    assert TOKEN not in raised.value.explain()
    assert pushed(origin) == origin.git("rev-parse", "promote/count")


def test_no_network_leaves_the_branch(
    origin: Checkout, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")

        with pytest.raises(StorageError, match=r"127.0.0.1 cannot be reached.* is pushed: open it at"):
            ask(origin)


def test_a_push_that_is_refused_says_how_to_go_on(origin: Checkout, github: GitHub) -> None:
    gone = f"https://user:{TOKEN}@127.0.0.1:9/lab/stargazer.git"
    origin.git("remote", "set-url", "origin", gone)

    with pytest.raises(StorageError, match=r"git push failed") as raised:
        ask(origin)

    assert "once `git push -u origin promote/count` works" in str(raised.value)
    assert TOKEN not in raised.value.explain()
    assert origin.git("branch", "--show-current") == "promote/count"
    assert github.asked == []


def no_token(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("GITHUB_TOKEN")


def broken_token(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("GITHUB_TOKEN", f"{TOKEN}\nX-Other: 1")


def no_origin(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    checkout.git("remote", "remove", "origin")


def local_origin(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    checkout.git("remote", "set-url", "origin", "../origin")


def other_host(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("GITHUB_API_URL")
    checkout.git("remote", "set-url", "origin", "git@git.example.org:lab/stargazer.git")


def plain_http(checkout: Checkout, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("GITHUB_API_URL", "http://api.example.org")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (no_token, "needs a token: set GITHUB_TOKEN .*nothing was changed"),
        (broken_token, "GITHUB_TOKEN is no token"),
        (no_origin, "has no remote `origin`"),
        (local_origin, "names no owner and repository"),
        (other_host, "on git.example.org: set GITHUB_API_URL"),
        (plain_http, "by https alone"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_sent(
    origin: Checkout,
    github: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Checkout, pytest.MonkeyPatch], None],
    told: str,
) -> None:
    wrong(origin, monkeypatch)

    with pytest.raises(ConfigurationError, match=told) as raised:
        find_repository(origin.root)

    assert TOKEN not in raised.value.explain()
    assert github.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/lab/stargazer",
        "https://x-access-token:secret@github.com/lab/stargazer.git",
        "git@github.com:lab/stargazer.git",
        "ssh://git@github.com:22/lab/stargazer.git",
        "git://github.com/lab/stargazer.git/",
    ],
)
def test_every_way_to_write_an_address_is_understood(origin: Checkout, github: GitHub, address: str) -> None:
    origin.git("remote", "set-url", "origin", address)

    assert find_repository(origin.root).page == "https://github.com/lab/stargazer"
