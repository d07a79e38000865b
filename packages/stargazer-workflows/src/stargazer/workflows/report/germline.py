"""The report of a germline run as one self-contained HTML file whose bytes depend on its content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["write_germline_report"]


def write_germline_report(
    target: str, summary: str, steps: Sequence[Mapping[str, Any]], comparison: str | None = None
) -> None:
    """Write the HTML report of a germline run."""
    found = json.loads(Path(summary).read_text())
    Path(target).write_text(
        f"<!DOCTYPE html>\n<pre>{escape(json.dumps(found, indent=1))}</pre>\n", encoding="utf-8"
    )
