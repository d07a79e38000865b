"""What a promotion becomes in git and on GitHub: a branch with one commit, and a pull request."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import attrs
from stargazer.mcp.promotion.branch import Branch, commit, plan_branch
from stargazer.mcp.promotion.case import Case
from stargazer.mcp.promotion.extraction import Promoted
from stargazer.mcp.promotion.pull_request import (
    PullRequest,
    Repository,
    find_repository,
    open_pull_request,
    push_branch,
)
from stargazer.mcp.promotion.regression import Outcome

__all__ = ["Publication", "description", "plan_publication"]


@attrs.frozen
class Publication:
    """A branch for the files of a promotion, and the repository of a pull request if one is asked for."""

    branch: Branch
    repository: Repository | None
    paths: tuple[Path, ...]
    title: str

    def commit(self, body: str) -> str:
        """Commit the files, which are written, on the branch: the commit."""
        return commit(self.branch, self.paths, f"{self.title}\n\n{body}")

    def open(self, body: str) -> PullRequest | None:
        """Push the branch and open the pull request, if one is asked for."""
        if self.repository is None:
            return None
        push_branch(self.branch.root, self.repository, self.branch.name)
        return open_pull_request(self.repository, self.branch.name, self.title, body)


def plan_publication(
    root: Path, branch: str, promoted: Promoted, paths: Collection[Path], *, pull_request: bool
) -> Publication | None:
    """Make sure that the branch and the pull request can be made; None where none is asked for.

    Args:
        branch: its name; "" names it after the task where a pull request is asked for.

    Raises:
        ConfigurationError: they cannot be.
    """
    if not branch and not pull_request:
        return None
    repository = find_repository(root) if pull_request else None
    planned = plan_branch(root, branch or f"promote/{promoted.function}", paths)
    return Publication(planned, repository, tuple(paths), f"Promote the task {promoted.function}")


def description(promoted: Promoted, summary: str, case: Case, outcome: Outcome) -> str:
    """What a reviewer wants to know: what the task is, where it is from, and what its test stands on."""
    execution = case.execution
    cell = f"cell `{promoted.cell}` of " if promoted.cell else ""
    files = [
        f"  - {file.role}{' (comes along)' if file.is_companion else ''}: {file.keyvalues.get('asset', 'file')}, "
        f"{file.size:,} bytes, {file.cid}"
        for file in case.files
    ]
    outputs = [
        f"  - {entry.role}: {entry.keyvalues.get('asset', 'file')}, {entry.size:,} bytes, {entry.cid}"
        for entry in execution.outputs
    ]
    tools = ", ".join(f"{tool.name} {tool.version}" for tool in execution.tools) or "none"
    tested = f"NOT RUN: {outcome.skipped}" if outcome.skipped else f"passed in {outcome.seconds:.1f} s"
    return "\n".join(
        [
            summary,
            "",
            f"- task: `{promoted.task}`, in `{promoted.module}`",
            f"- from: {cell}`{promoted.notebook}`",
            f"- provenance of the run that the test is made of: {case.provenance_cid}, {execution.seconds:g} s",
            f"- tools of that run: {tools}",
            f"- files that it read, {case.size:,} bytes in all, which are in the repository now:",
            *files,
            "- files that it gave, which the test compares:",
            *outputs,
            f"- test: `tests/unit/test_{promoted.function}.py`, {tested}",
            "",
            "Made by `stargazer promote-task`. AGENTS.md says what a reviewer looks at.",
        ]
    )
