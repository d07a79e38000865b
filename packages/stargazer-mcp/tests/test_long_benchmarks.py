"""The scripts of benchmarks/ in full: campaigns that kill processes and fill disks, and figures with their limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"
if not FOLDER.exists():
    pytest.skip("benchmarks/ is in the repository alone, not in this distribution", allow_module_level=True)

COMMANDS = (
    "accuracy.py",
    "align.py",
    "campaign.py 14",
    "campaign_pinata.py 12",
    "download.py",
    "fsck.py 100000 512",
    "gatk_start.py",
    "germline.py --rounds 3",
    "germline_gatk.py",
    "index.py --full",
    "ingest.py --rounds 4",
    "kill_runs.py",
    "kill_runs.py --caller gatk --kills 20",
    "lineage.py",
    "many.py 2000",
    "memo.py",
    "runs.py",
    "scrna.py mouse",
    "scrna.py simulated",
    "serve.py",
    "stale.py",
)


@pytest.mark.long
@pytest.mark.timeout(3600)  # the longest takes minutes
@pytest.mark.parametrize("command", COMMANDS)
def test_a_script_ends_well_and_prints_its_figures(command: str) -> None:
    script, *options = command.split()

    done = subprocess.run(
        [sys.executable, FOLDER / script, *options], text=True, stdout=subprocess.PIPE, check=False
    )

    print(done.stdout)
    assert done.returncode == 0, done.stdout


def test_every_script_is_among_them() -> None:
    assert {command.split()[0] for command in COMMANDS} == {path.name for path in FOLDER.glob("[!_]*.py")}
