"""stargazer-mcp with the layers below: the command adds a file, runs a workflow, and says how a result was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

STARGAZER = Path(sys.executable).with_name("stargazer")


def stargazer(*words: str) -> str:
    """What the command prints."""
    return subprocess.run([STARGAZER, *words], text=True, stdout=subprocess.PIPE, check=True).stdout


Path("tiny.fa").write_text(">chr1\nACGTACGT\n")
stargazer("add", "tiny.fa", "build=tiny")
stargazer("run", "prepare_reference", "build=tiny", "aligner=none")
(found,) = json.loads(stargazer("query", "asset=reference_index", "--json"))
told = stargazer("why", found["cid"])
assert "samtools_faidx" in told, told
print(told)
