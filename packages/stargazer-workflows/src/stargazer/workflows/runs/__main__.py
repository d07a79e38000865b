"""The process of a detached run: `python -m stargazer.workflows.runs FOLDER DESCRIPTOR`."""

from __future__ import annotations

import sys
from pathlib import Path

from stargazer.workflows.runs.worker import work

if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), int(sys.argv[2])))
