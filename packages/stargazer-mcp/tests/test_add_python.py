"""`await stargazer.storage.add(...)` and `stargazer add`: the same record, and the same error."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import stargazer.storage
from stargazer.assets import IpFile, StargazerError
from stargazer.mcp.cli import main
from stargazer.storage import get_client

VCF = """##fileformat=VCFv4.2
##contig=<ID=c1,length=4>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB
c1\t1\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/0
"""
FILES = {
    "x.fa": ">c1\nACGT\n",
    "x_R1.fq": "@r/1\nACGT\n+\nIIII\n",
    "x_R2.fq": "@r/2\nACGT\n+\nIIII\n",
    "x.vcf": VCF,
    "x.bed": "c1\t0\t2\n",
    "x.dict": "@HD\tVN:1.6\n@SQ\tSN:c1\tLN:4\n",
    "notes.txt": "x\n",
    "empty.bam": "",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def by_command(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["add", *words, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def by_python(names: list[str], **fields: Any) -> list[IpFile]:
    stored = asyncio.run(stargazer.storage.add(names, **fields))
    return [asset.record for asset in stored if asset.record is not None]


@pytest.mark.parametrize(
    ("names", "fields", "words"),
    [
        (["x.fa"], {"build": "tiny"}, ["build=tiny"]),
        (["x_R1.fq", "x_R2.fq"], {"sample": "S", "lane": "L1"}, ["sample=S", "lane=L1"]),
        (["x.vcf"], {"normalised": True}, ["normalised=true"]),
        (["x.vcf"], {"samples": ["A", "B"]}, ["samples=A,B"]),
        (["x.bed"], {"asset": "intervals", "name": "targets"}, ["asset=intervals", "name=targets"]),
        (["x.fa", "x.dict"], {"build": "tiny"}, ["build=tiny"]),
    ],
)
def test_both_make_the_same_record(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    fields: dict[str, Any],
    words: list[str],
) -> None:
    records = by_python(names, **fields)
    shutil.rmtree(get_client().store.root)
    said = by_command(capsys, *names, *words)

    keys = ("id", "cid", "name", "size")
    assert [{key: one[key] for key in keys} for one in said] == [
        {key: getattr(one, key) for key in keys} for one in records
    ]
    for one, other in zip(said, records, strict=True):
        pairs = dict(other.keyvalues)
        assert one["keyvalues"].pop("provenance_cid")
        assert pairs.pop("provenance_cid")
        assert one["keyvalues"] == pairs


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("notes.txt", {}, []),
        ("notes.txt", {"asset": "file", "some_cid": "x"}, ["asset=file", "some_cid=x"]),
        ("notes.txt", {"asset": "file", "Project": "x"}, ["asset=file", "Project=x"]),
        ("x.fa", {"asset": "referense", "build": "x"}, ["asset=referense", "build=x"]),
        ("x.fa", {"built": "x"}, ["built=x"]),
        ("x.fa", {}, []),
        ("x.fai", {}, []),
        ("empty.bam", {"sample": "S"}, ["sample=S"]),
        ("x.vcf", {"samples": ["C"]}, ["samples=C"]),
    ],
)
def test_both_refuse_with_the_same_words(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, fields: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(StargazerError) as caught:
        by_python([name], **fields)
    assert main(["add", name, *words]) == 1
    assert capsys.readouterr().err == f"stargazer: error: {caught.value.explain()}\n"
