"""Calls in a simulated cohort whose truth is known: one copy of chrM, repeats in lower case, deletions on both copies.

A short form of benchmarks/accuracy.py, which holds recall and precision to their limits.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pysam = pytest.importorskip("pysam")

from stargazer.assets import R1, R2, Intervals, InvalidAssetError, Reference  # noqa: E402
from stargazer.workflows.demo.cohort import MITOCHONDRION, Cohort, simulate_cohort  # noqa: E402
from stargazer.workflows.demo.files import Regions, observations  # noqa: E402
from stargazer.workflows.demo.genome import confident_intervals  # noqa: E402
from stargazer.workflows.germline import germline_short_variant_discovery  # noqa: E402

LENGTH, DEPTHS = 60_000, {"deep": 30.0, "shallow": 6.0}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return simulate_cohort(tmp_path_factory.mktemp("cohort"), DEPTHS, LENGTH, seed=3)


@pytest.fixture(scope="module")
def vcf(cohort: Cohort, new_lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The joint calls of both samples, with one copy of chrM."""
    lab = new_lab(tmp_path_factory.mktemp("lab"))
    lab.add(cohort.reference, Reference(build="cohort"))
    for sample, (r1, r2) in cohort.reads.items():
        lab.add(r1, R1(sample=sample, lane="L001"))
        lab.add(r2, R2(sample=sample, lane="L001"))
    calls = lab.run(
        germline_short_variant_discovery,
        samples=list(DEPTHS),
        build="cohort",
        caller="bcftools",
        ploidy=[f"{MITOCHONDRION}:1"],
    )
    return lab.path(calls.variants)


def intervals(cohort: Cohort) -> Iterator[tuple[str, int, int]]:
    for contig in cohort.contigs:
        for start, end in confident_intervals(contig):
            yield contig.name, start, end


def judged(cohort: Cohort) -> Regions:
    return Regions(intervals(cohort))


def called(cohort: Cohort, vcf: Path) -> dict[str, Any]:
    sequences = {contig.name: contig.sequence() for contig in cohort.contigs}
    return observations(str(vcf), list(DEPTHS), judged(cohort), sequences)


def test_alleles_are_in_capitals_where_the_reference_is_not(cohort: Cohort, vcf: Path, records_of: Any):
    reference = {
        title.splitlines()[0]: "".join(title.splitlines()[1:])
        for title in cohort.reference.read_text().split(">")[1:]
    }

    records = [line.split("\t")[:5] for line in records_of(vcf)]

    assert all((ref + alt).isupper() for *_, ref, alt in records)
    assert any(reference[contig][int(position) - 1].islower() for contig, position, *_ in records)
    assert all(
        reference[contig][int(position) - 1 :].upper().startswith(ref)
        for contig, position, _, ref, _ in records
    )


def test_a_contig_of_one_copy_has_genotypes_of_one_allele_and_others_of_two(vcf: Path):
    with pysam.VariantFile(str(vcf)) as records:
        copies = {(r.contig == MITOCHONDRION, len(r.samples[s]["GT"])) for r in records for s in r.samples}

    assert copies == {(True, 1), (False, 2)}


def test_depths_beyond_250_are_the_true_ones(vcf: Path):
    with pysam.VariantFile(str(vcf)) as records:
        deepest = max(r.samples["deep"]["DP"] for r in records if r.contig == MITOCHONDRION)

    assert deepest > 280  # ten copies at 30x, less the duplicates


def test_every_snv_of_30_reads_is_called_and_nothing_else(cohort: Cohort, vcf: Path):
    truth, regions = cohort.truth()["deep"], judged(cohort)
    snvs = {a for a in truth if len(a[2]) == len(a[3]) and regions.hold(a[0], a[1] - 1, a[1])}

    found = called(cohort, vcf)["deep"]

    assert len(snvs) > 40
    assert {a for a in found if len(a[2]) == len(a[3])} == snvs
    assert {a: found[a].copies for a in snvs} == {a: truth[a] for a in snvs}


def test_short_indels_of_30_reads_are_called(cohort: Cohort, vcf: Path):
    truth, regions = cohort.truth()["deep"], judged(cohort)
    short = {
        a
        for a in truth
        if 1 <= abs(len(a[2]) - len(a[3])) <= 20 and regions.hold(a[0], a[1] - 1, a[1] - 1 + len(a[2]))
    }

    assert len(short) > 10
    assert short <= called(cohort, vcf)["deep"].keys()


def test_gatk_finds_all_of_it_with_the_right_genotypes(
    cohort: Cohort, new_lab: Any, gatk_home: Path, tmp_path: Path
):
    some_of_it = tmp_path / "some.bed"
    some_of_it.write_text(
        "".join(
            f"{c.name}\t0\t{3_000 if c.name == MITOCHONDRION else len(c.codes)}\n" for c in cohort.contigs
        )
    )
    regions = Regions((c, s, min(e, 3_000) if c == MITOCHONDRION else e) for c, s, e in intervals(cohort))
    truth = {
        a: copies
        for a, copies in cohort.truth()["deep"].items()
        if abs(len(a[2]) - len(a[3])) <= 60 and regions.hold(a[0], a[1] - 1, a[1] - 1 + len(a[2]))
    }
    lab = new_lab(tmp_path / "lab")
    lab.add(cohort.reference, Reference(build="cohort"))
    lab.add_lane(cohort.reads["deep"], sample="deep", lane="L001")
    lab.add(some_of_it, Intervals(name="some", build="cohort"))

    calls = lab.run(
        germline_short_variant_discovery,
        samples=["deep"],
        build="cohort",
        caller="gatk",
        intervals="some",
        ploidy=[f"{MITOCHONDRION}:1"],
    )

    sequences = {contig.name: contig.sequence() for contig in cohort.contigs}
    found = observations(str(lab.path(calls.variants)), ["deep"], regions, sequences)["deep"]
    with pysam.VariantFile(str(lab.path(calls.variants))) as records:
        copies = {(r.contig == MITOCHONDRION, len(r.samples["deep"]["GT"])) for r in records}
    assert len(truth) > 60
    assert {allele: seen.copies for allele, seen in found.items()} == truth
    assert copies == {(True, 1), (False, 2)}


def test_nothing_is_called_in_what_a_sample_lacks(cohort: Cohort, vcf: Path):
    found = called(cohort, vcf)

    for sample, stretches in cohort.deletions.items():
        assert len(stretches) == 3
        for contig, start, end in stretches:
            assert not [a for a in found[sample] if a[0] == contig and start + 10 < a[1] < end - 10]


def test_the_same_seed_gives_the_same_cohort(tmp_path: Path):
    def digests(name: str, seed: int) -> list[str]:
        (tmp_path / name).mkdir()
        made = simulate_cohort(tmp_path / name, {"A": 0.5, "B": 0.2}, LENGTH, seed)
        reads = [gzip.decompress(path.read_bytes()) for paths in made.reads.values() for path in paths]
        return [hashlib.sha256(content).hexdigest() for content in (made.reference.read_bytes(), *reads)] + [
            repr(made.truth())
        ]

    one, two, other = digests("one", 1), digests("two", 1), digests("other", 2)

    assert one == two
    assert not set(one) & set(other)


def test_a_genome_without_room_for_the_deletions_is_refused(tmp_path: Path):
    with pytest.raises(InvalidAssetError, match="has no room for a deletion of"):
        simulate_cohort(tmp_path, {"A": 1.0}, 20_000, seed=1)
