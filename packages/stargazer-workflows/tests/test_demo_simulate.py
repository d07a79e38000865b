"""The simulated trio: reproducible, Mendelian, realistic in form, complete or absent."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pysam = pytest.importorskip("pysam")

from stargazer.assets import InvalidAssetError, StorageError  # noqa: E402
from stargazer.workflows.demo.draws import Draws  # noqa: E402
from stargazer.workflows.demo.simulate import simulate_sample, simulate_trio  # noqa: E402


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of the content of each file, decompressed where compressed."""
    digests = {}
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        content = gzip.decompress(data) if path.suffix == ".gz" else data
        digests[path.name] = hashlib.sha256(content).hexdigest()
    return digests


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return simulate_trio(str(tmp_path_factory.mktemp("simulated") / "trio"))


def records(vcf: str) -> list[str]:
    return [line for line in vcf.splitlines() if not line.startswith("#")]


def sample_of(folder: Path, seed: int = 1, pairs: int = 500) -> dict:
    return simulate_sample(str(folder), pairs=pairs, seed=seed, genome_length=60_000)


def test_draws_are_the_documented_stream_of_pcg64():
    """Given a seed, the draws are these for ever: data made by one release is data of every release."""
    draws = Draws(42, 1)

    assert draws.integers(0, 1000, 5).tolist() == [793, 245, 404, 632, 816]
    assert draws.bytes(4).tolist() == [145, 223, 199, 233]


def test_the_same_seed_gives_the_same_files(tmp_path):
    sample_of(tmp_path / "one")
    sample_of(tmp_path / "two")
    sample_of(tmp_path / "other", seed=2)

    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert digest(tmp_path / "one")["reference.fa"] != digest(tmp_path / "other")["reference.fa"]


def test_gzip_headers_hold_neither_name_nor_time(trio):
    header = Path(trio["samples"][0]["lanes"][0]["r1"]).read_bytes()[:10]

    assert header[3] == 0
    assert header[4:8] == b"\0\0\0\0"


def test_reads_are_paired_unique_and_as_many_as_said(trio):
    for sample in trio["samples"]:
        names: set[str] = set()
        assert [lane["lane"] for lane in sample["lanes"]] == ["L001", "L002"]
        for lane in sample["lanes"]:
            with pysam.FastxFile(lane["r1"]) as first, pysam.FastxFile(lane["r2"]) as second:
                for one, two in zip(first, second, strict=True):
                    assert one.name == two.name
                    assert len(one.sequence) == len(one.quality) == len(two.sequence) == 150
                    names.add(one.name)
        assert len(names) == sample["pairs"] == sum(lane["pairs"] for lane in sample["lanes"])


def test_truth_obeys_inheritance_and_matches_the_reference(trio, tmp_path):
    sequences = {record.name: record.sequence for record in pysam.FastxFile(trio["reference"])}
    changes = 0
    with pysam.VariantFile(trio["truth"]) as truth:
        assert list(truth.header.samples) == ["demo-father", "demo-mother", "demo-child"]
        for record in truth:
            father, mother, (paternal, maternal) = (record.samples[i]["GT"] for i in range(3))
            assert paternal in father
            assert maternal in mother
            assert sequences[record.contig][record.start : record.stop] == record.ref
            changes += 1
    assert changes == trio["variants"]["snv"] + trio["variants"]["indel"]


def test_truth_is_normalised_and_indexed(trio, tmp_path):
    import pysam.bcftools

    reference = tmp_path / "reference.fa"
    reference.write_bytes(Path(trio["reference"]).read_bytes())
    normalised = pysam.bcftools.norm("-f", str(reference), trio["truth"])

    with gzip.open(trio["truth"], "rt") as truth:
        assert records(normalised) == records(truth.read())
    with pysam.VariantFile(trio["truth"]) as truth:
        assert all(record.contig == "demo2" for record in truth.fetch("demo2"))


def test_the_reference_is_hard_in_the_ways_real_ones_are(trio):
    records = {record.name: record.sequence for record in pysam.FastxFile(trio["reference"])}

    assert list(records) == ["demo1", "demo2", "demo3"]
    assert len({len(sequence) for sequence in records.values()}) == 3
    for sequence in records.values():
        assert sequence.count("N" * 300) >= 1
        gc = [
            (sequence[i : i + 5000].count("G") + sequence[i : i + 5000].count("C")) / 5000
            for i in range(5000, len(sequence) - 5000, 5000)
        ]
        assert max(gc) - min(gc) > 0.04


def test_confident_regions_hold_no_unknown_base(trio):
    sequences = {record.name: record.sequence for record in pysam.FastxFile(trio["reference"])}
    judged = 0
    for line in Path(trio["confident"]).read_text().splitlines():
        contig, start, end = line.split("\t")
        assert "N" not in sequences[contig][int(start) : int(end)]
        judged += int(end) - int(start)

    assert 0.85 < judged / trio["genome_length"] < 0.99


def test_a_second_call_uses_what_is_there(tmp_path):
    first = sample_of(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}

    assert sample_of(tmp_path / "data") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()} == before


@pytest.mark.parametrize("damage", ["other seed", "truncated", "foreign"])
def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path, damage):
    folder = tmp_path / "data"
    if damage == "foreign":
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
    else:
        made = sample_of(folder, seed=2 if damage == "other seed" else 1)
        if damage == "truncated":
            os.truncate(made["samples"][0]["lanes"][0]["r1"], 100)
    before = sorted(folder.iterdir())

    with pytest.raises(StorageError, match="does not hold this simulation"):
        sample_of(folder)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("seed", [-1, 1.5, "42", True, None])
def test_a_seed_that_is_no_whole_number_is_refused(tmp_path, seed):
    with pytest.raises(InvalidAssetError, match="seed="):
        simulate_trio(str(tmp_path / "trio"), seed)
    assert not (tmp_path / "trio").exists()


def test_a_killed_simulation_leaves_no_folder(tmp_path):
    folder = tmp_path / "trio"
    code = f"from stargazer.workflows.demo.simulate import simulate_trio; simulate_trio({str(folder)!r})"
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".trio.*/*R1*")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()

    assert child.returncode == -signal.SIGKILL
    assert not folder.exists()


def test_odd_folder_names(tmp_path):
    made = sample_of(tmp_path / "sub folder" / "-ünï 'code'")

    assert Path(made["reference"]).is_file()
