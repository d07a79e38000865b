"""A branch with one commit: exactly the files of one promotion, whatever else is changed in the checkout.

Git is run as it is installed, with the user's configuration and hooks, by lists of arguments and never by a shell.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Collection
from pathlib import Path

import attrs
from stargazer.assets import ConfigurationError, ToolError

__all__ = ["Branch", "commit", "plan_branch", "run_git"]

UNFINISHED = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
}
"""What a commit made now would become part of: by the file or folder that git keeps meanwhile."""
MOST_LINES = 20


@attrs.frozen
class Branch:
    """A new branch for one promotion.

    Attributes:
        root: the checkout.
        name: of the branch.
        former: the branch that is checked out, to which a failure goes back; a commit if it is none.
        is_detached: whether it is a commit.
    """

    root: Path
    name: str
    former: str
    is_detached: bool = False


def plan_branch(root: Path, name: str, paths: Collection[Path]) -> Branch:
    """Make sure that a branch with these files can be made, before any of them is written.

    Args:
        root: the checkout.
        name: of the new branch.
        paths: the files of the promotion, within the checkout.

    Raises:
        ConfigurationError: it is no git checkout, nobody is named as author, the branch exists, something is staged or
            half done, or one of the files has changes that are not committed.
        ToolError: git is missing or fails.
    """
    if _asked(root, "rev-parse", "--show-toplevel") is None:
        raise ConfigurationError(
            f"{str(root)!r} is no git checkout, so there can be no branch: promote without --branch, or clone the "
            "repository and promote there"
        )
    if _asked(root, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise ConfigurationError(f"{str(root)!r} has no commit yet: commit something first")
    if _asked(root, "check-ref-format", "--branch", name) is None or name.startswith("-"):
        raise ConfigurationError(
            f"--branch {name!r} is no name that git takes: give one such as promote/count_lines"
        )
    if _asked(root, "show-ref", "--verify", "--quiet", f"refs/heads/{name}") is not None:
        raise ConfigurationError(
            f"the branch {name!r} exists already: give another name, or delete it (git branch -D {name})"
        )
    for key in ("user.name", "user.email"):
        if not _asked(root, "config", "--get", key) and not os.environ.get(f"GIT_AUTHOR_{key[5:].upper()}"):
            raise ConfigurationError(f"git does not know who you are: git config --global {key} ...")
    for file, what in UNFINISHED.items():
        if (root / run_git(root, "rev-parse", "--git-path", file).strip()).exists():
            raise ConfigurationError(f"{what} is not finished in {str(root)!r}: finish or abort it first")
    if staged := run_git(root, "diff", "--cached", "--name-only", "-z").split("\0")[:-1]:
        raise ConfigurationError(
            f"something is staged for a commit already ({_listed(staged)}): commit it, or unstage it (git restore "
            "--staged .)"
        )
    dirty = _dirty(root, paths)
    if dirty:
        raise ConfigurationError(
            f"there are changes that are not committed in files that the promotion writes ({_listed(dirty)}): commit "
            "or stash them first; nothing was changed"
        )
    branch = _asked(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    former = branch or run_git(root, "rev-parse", "HEAD").strip()
    return Branch(root, name, former, is_detached=not branch)


def commit(branch: Branch, paths: Collection[Path], message: str) -> str:
    """Check the new branch out and commit the files, which are written already, and no others.

    Whatever fails, the former branch is checked out again, with the files as they are on disk.

    Returns:
        The new commit.

    Raises:
        ToolError: git or a hook refuses; the text has what it said.
    """
    root, files = branch.root, _names(branch.root, paths)
    begun = run_git(root, "rev-parse", "HEAD").strip()
    run_git(root, "switch", "--quiet", "--no-track", "--create", branch.name)
    try:
        run_git(root, "add", "--force", "--", *files)
        run_git(root, "commit", "--quiet", "--file", "-", given=message)
        held = run_git(root, "diff", "--name-only", "--no-renames", "-z", begun, "HEAD").split("\0")[:-1]
        here = Path(run_git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
        held_here = {os.path.relpath(here / name, root.resolve()) for name in held}
        if held_here != set(files):
            raise ToolError(
                f"a hook of this repository changed what was committed ({_listed(sorted(held_here ^ set(files)))}): "
                "a promotion is a commit of its own files alone"
            )
        return run_git(root, "rev-parse", "HEAD").strip()
    except BaseException:
        _go_back(branch, begun)
        raise


def _go_back(branch: Branch, begun: str) -> None:
    """To the former branch, with an empty index and the files as they are; the new branch goes."""
    root = branch.root
    with contextlib.suppress(ToolError):
        run_git(root, "reset", "--quiet", "--mixed", begun)  # nothing was staged before
    former = ["--detach", branch.former] if branch.is_detached else [branch.former]
    with contextlib.suppress(ToolError):
        run_git(root, "switch", "--quiet", *former)
        run_git(root, "branch", "--quiet", "-D", branch.name)


def run_git(root: Path, *words: str, given: str = "") -> str:
    """What a git command prints.

    Args:
        root: where it is run.
        words: the subcommand and its arguments; paths are taken literally.
        given: its stdin.

    Raises:
        ToolError: git is missing, or the command fails; the text has its last lines.
    """
    done = _run(root, words, given)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-MOST_LINES:]
        lines = "".join(f"\n  {line}" for line in said)
        raise ToolError(
            f"git {words[0]} failed in {str(root)!r} (status {done.returncode}):{lines or ' it said nothing'}"
        )
    return done.stdout


def _asked(root: Path, *words: str) -> str | None:
    """What git answers to a question; None if it fails, which is the answer no."""
    done = _run(root, words, "")
    return done.stdout.strip() if done.returncode == 0 else None


def _run(root: Path, words: Collection[str], given: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"}
    try:
        return subprocess.run(
            ["git", "--literal-pathspecs", *words],
            cwd=root,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
    except FileNotFoundError:
        raise ToolError("git is not on PATH: install it, or promote without --branch") from None


def _dirty(root: Path, paths: Collection[Path]) -> list[str]:
    """The files among these that are not as they are committed: changed, or there and unknown to git."""
    files = _names(root, paths)
    told = run_git(root, "status", "--porcelain", "-z", "--ignored", "--untracked-files=all", "--", *files)
    return [line[3:] for line in told.split("\0") if line]


def _names(root: Path, paths: Collection[Path]) -> list[str]:
    """Paths as git takes them: relative to the checkout."""
    return sorted(os.path.relpath(root / path, root) for path in paths)


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
