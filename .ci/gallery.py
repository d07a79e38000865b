"""Write down which notebooks there are: gallery.json of stargazer-mcp. With --check, say whether it is true."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
MANIFEST = ROOT / "packages/stargazer-mcp/src/stargazer/mcp/gallery.json"
FIRST = (
    "assets_and_storage",
    "tasks",
    "workflows_and_runs",
    "execution",
    "assets",
    "germline",
    "scrna",
    "results",
)
"""In which order they are to be read; others follow."""
TEMPLATE = NOTEBOOKS / "scratch" / "experiment.py"
"""The one notebook of scratch/ that is everybody's."""


def paths() -> list[Path]:
    """The notebooks."""
    names = [*FIRST, *sorted(path.stem for path in NOTEBOOKS.glob("*.py") if path.stem not in FIRST)]
    return [path for path in (*(NOTEBOOKS / f"{name}.py" for name in names), TEMPLATE) if path.exists()]


def title(path: Path) -> str:
    """What the first cell calls a notebook: its first line of markdown that begins with `# `."""
    cells = [
        node
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    texts = [
        node.value
        for node in ast.walk(cells[0])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = [line.strip() for text in texts for line in text.splitlines() if line.strip().startswith("# ")]
    if not found:
        raise SystemExit(
            f"{path.relative_to(ROOT)}: its first cell has no title, a line that begins with `# `"
        )
    return found[0].removeprefix("# ")


def entry(path: Path) -> dict[str, str]:
    """What is written down of a notebook."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.relative_to(NOTEBOOKS).as_posix(), "title": title(path), "sha256": digest}


def main() -> int:
    """Return 1 if something would have to be written and only --check is asked for."""
    text = json.dumps([entry(path) for path in paths()], indent=2) + "\n"
    if MANIFEST.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{MANIFEST.relative_to(ROOT)} is not what notebooks/ holds: hatch run gallery")
        return 1
    MANIFEST.write_text(text)
    print(f"wrote {MANIFEST.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
