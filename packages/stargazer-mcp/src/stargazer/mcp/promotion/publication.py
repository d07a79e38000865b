"""What a promotion becomes in git and on GitHub: a branch with one commit, and a pull request."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import attrs
from stargazer.mcp.promotion.branch import Branch, commit, plan_branch
from stargazer.mcp.promotion.extraction import Promoted
from stargazer.mcp.promotion.pull_request import Repository, find_repository, open_pull_request, push_branch

__all__ = ["Publication", "plan_publication"]


@attrs.frozen
class Publication:
    """A branch for the files of a promotion, and the repository of a pull request if one is asked for."""

    branch: Branch
    repository: Repository | None
    paths: tuple[Path, ...]
    title: str
    body: str

    def commit(self) -> dict[str, str]:
        """Commit the files, which are written, on the branch: its name and the commit."""
        made = commit(self.branch, self.paths, f"{self.title}\n\n{self.body}")
        return {"branch": self.branch.name, "commit": made}

    def open(self) -> dict[str, str]:
        """Push the branch and open the pull request, if one is asked for: its address."""
        if self.repository is None:
            return {}
        push_branch(self.branch.root, self.repository, self.branch.name)
        return {
            "pull_request": open_pull_request(self.repository, self.branch.name, self.title, self.body).url
        }


def plan_publication(
    root: Path, branch: str, promoted: Promoted, paths: Collection[Path], *, pull_request: bool, summary: str
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
    title = f"Task {promoted.function}: {summary}"
    place = f"{promoted.notebook}, cell {promoted.cell}" if promoted.cell else promoted.notebook
    body = (
        f"`{promoted.task}` is promoted from {place} into `{promoted.module}` by `stargazer promote-task`. The test "
        "that comes with it expects what the cell's last run gave."
    )
    return Publication(planned, repository, tuple(paths), title, body)
