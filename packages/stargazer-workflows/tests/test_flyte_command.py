"""The `flyte` command runs workflows and tasks, from a user's own file and from the modules that we install."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stargazer.workflows.reference
from stargazer.assets import Reference
from stargazer.tasks import samtools_faidx

Flyte = Callable[..., str]

OWN = "from stargazer.tasks import samtools_faidx\nfrom stargazer.workflows import prepare_reference\n"
INSTALLED = os.path.abspath(stargazer.workflows.reference.__file__)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder, with a file that imports a task and a workflow."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "own.py").write_text(OWN)
    return tmp_path / "project"


@pytest.fixture
def reference(lab: Any, tmp_path: Path) -> Any:
    (tmp_path / "tiny.fa").write_text(">chr1\n" + "ACGTTGCAAC" * 8 + "\n")
    return lab.add(tmp_path / "tiny.fa", Reference(build="tiny"))


@pytest.fixture
def flyte(lab: Any, project: Path) -> Flyte:
    """What `flyte run --local` prints there, without colours, frames and breaks of lines; `status` is how it ends."""

    def run(*words: str, status: int = 0) -> str:
        environ = os.environ | {"STARGAZER_LOCAL": str(lab.client.store.root), "DO_NOT_TRACK": "1"}
        command = [str(Path(sys.executable).with_name("flyte")), "run", "--local", *words]
        done = subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return re.sub(r"\x1b\[[0-9;]*m|[│\s]", "", done.stdout + done.stderr)

    return run


def test_a_workflow_runs_with_its_defaults_and_with_choices_as_they_are_spelt(
    flyte: Flyte, lab: Any, reference: Reference, project: Path
) -> None:
    assert "aligner='bwa-mem3'" in flyte("own.py", "prepare_reference", "--build", "tiny")

    installed = os.path.relpath(INSTALLED, project)
    printed = flyte(installed, "prepare_reference", "--build", "tiny", "--aligner", "none")

    indexed = lab.run(samtools_faidx, reference)
    assert lab.recalled() == {"samtools_faidx": 1}  # from what the command computed
    assert f"o1=ReferenceIndex(cid='{indexed.fai.cid}'" in printed
    assert "o3=None" in printed
    refusal = flyte("own.py", "prepare_reference", "--build", "tiny", "--aligner", "minimap2", status=1)
    assert "'minimap2'isnotoneof'bwa-mem3','bwa','none'" in refusal


def test_a_task_takes_an_asset_as_its_cid_or_as_json(flyte: Flyte, lab: Any, reference: Reference) -> None:
    by_cid = flyte("own.py", "samtools_faidx", "--reference", reference.cid or "")

    record = {"asset_key": "reference", "cid": reference.cid, "keyvalues": {"build": "tiny"}}
    by_json = flyte("own.py", "samtools_faidx", "--reference", json.dumps(record))

    indexed = lab.run(samtools_faidx, reference)
    assert lab.recalled() == {"samtools_faidx": 1}
    assert all(f"o0=ReferenceIndex(cid='{indexed.fai.cid}'" in printed for printed in (by_cid, by_json))
    refusal = flyte("own.py", "samtools_faidx", "--reference", indexed.fai.cid, status=1)
    assert f"noreferencecid={indexed.fai.cid};thestoreholds1reference" in refusal
