"""The front pages: what they offer exists, is what it was defined as, and can be imported alone and in any order."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
from stargazer.assets import Alignment, Asset, Reference, current_client

LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")
WANTED = {
    "stargazer.assets": "Alignment Reference R1 Variants AnnData asset assemble fetch use_client",
    "stargazer.storage": "add get_client LocalStorageClient PinataClient Settings compute_cid",
    "stargazer.storage.lineage": "why diff stale",
    "stargazer.tasks": "align_with_bwa_mem3 mark_duplicates flagstat call_variants samtools bcftools htslib_env "
    "AssetEnvironment WorkflowEnvironment workspace Tool Wheel OnPath expect",
    "stargazer.workflows": "germline_short_variant_discovery preprocess_sample prepare_reference run find_run Run "
    "why_not",
}
"""Names that people import from a front page."""
ALONE = """
import os, sys
page, names = sys.argv[1], sys.argv[2:]
for name in names:
    if not (child := os.fork()):
        exec(f"from {page} import {name}")
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"from {page} import {name}")
"""


def run(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", ["first", "second", "third"])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_name_is_what_it_was_defined_as_whatever_was_imported_before(layer: str, seed: str) -> None:
    script = Path(__file__).with_name("front_page_names.py")
    assert run(str(script), f"stargazer.{layer}", seed) == ""


@pytest.mark.parametrize("page", WANTED)
def test_what_people_import_can_be_imported_alone_and_in_any_order(page: str) -> None:
    names = WANTED[page].split()
    run("-c", ALONE, page, *names)
    for order in (names, reversed(names), sorted(names)):
        run("-c", f"from {page} import {', '.join(order)}")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Asset]:
    """What the examples speak of, in this folder and in a store of this test."""
    monkeypatch.chdir(tmp_path)
    bam, fasta = Path("NA12878.bam"), Path("GRCh38.fa")
    pysam.AlignmentFile(str(bam), "wb", text="@HD\tVN:1.6\tSO:coordinate\n@RG\tID:1\tSM:NA12878\n").close()
    fasta.write_text(">chr1\nACGT\n")
    given = {
        "alignment": (Alignment(sample="NA12878"), bam),
        "reference": (Reference(build="GRCh38"), fasta),
        "tiny": (Reference(build="tiny"), fasta),
    }

    async def store(asset: Asset, path: Path) -> Asset:
        return Asset.from_record(await current_client().upload_file(path, asset.keyvalues))

    return {name: asyncio.run(store(*pair)) for name, pair in given.items()}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_example_of_a_front_page_runs(layer: str, stored: dict[str, Asset]) -> None:
    names: dict[str, object] = {"__name__": "__main__", **stored}
    page = importlib.import_module(f"stargazer.{layer}")
    for example in doctest.DocTestParser().get_examples(page.__doc__ or ""):
        said = io.StringIO()
        code = compile(example.source, page.__name__, "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(said):
            result = eval(code, names)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        assert doctest.OutputChecker().check_output(example.want, said.getvalue(), doctest.ELLIPSIS)
