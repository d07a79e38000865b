"""Headers are used: what files say of themselves is taken, and what contradicts it, or cannot be compared, is said."""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pysam
import pysam.bcftools
import pytest
from stargazer.assets import (
    Alignment,
    AlignmentIndex,
    AnnData,
    Asset,
    FormatError,
    InvalidAssetError,
    KnownSites,
    Reference,
    Variants,
)
from stargazer.storage import Addition, Lookup, Store, bundles, open_store
from stargazer.storage.bundles import find_bundle
from stargazer.storage.changes import supersede
from stargazer.tasks.checks import fields
from stargazer.tasks.checks.variants import is_gvcf

SEQUENCES = {"chr1": "ACGTA" * 20, "chr2": "GATTACA" * 10, "HLA:A*01:01:01:01": "TTGCA" * 4}
LENGTHS = {name: len(sequence) for name, sequence in SEQUENCES.items()}
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def refused(store: Store, path: Path, asset: Asset) -> str:
    with pytest.raises(FormatError) as caught:
        store.add([Addition(path, asset)])
    return str(caught.value)


def said(store: Store, path: Path, **given: str) -> Mapping[str, Any]:
    """What a file says, given this of it; an asset that is linked as its CID."""
    kind = {".bam": Alignment, ".cram": Alignment, ".h5ad": AnnData}.get(path.suffix, Variants)
    read = getattr(fields, kind.asset_key)
    found = read(path, given, Lookup([], store.query))
    return {key: value.cid if isinstance(value, Asset) else value for key, value in found.items()}


def fasta(path: Path, sequences: Mapping[str, str] = SEQUENCES) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in sequences.items()))
    return path


def bam(
    path: Path,
    *groups: Mapping[str, str],
    lengths: Mapping[str, int] = LENGTHS,
    order: str = "coordinate",
    md5: str = "",
    programs: tuple[str, ...] = (),
    scores: Any = (),
) -> Path:
    """An alignment with these read groups and one read for each of these scores."""
    head: dict[str, Any] = {"HD": {"VN": "1.6", **({"SO": order} if order else {})}}
    head["SQ"] = [
        {"SN": name, "LN": length} | ({"M5": md5} if md5 else {}) for name, length in lengths.items()
    ]
    head["RG"] = list(groups)
    head["PG"] = [{"ID": name, "PN": name} for name in programs]
    header = pysam.AlignmentHeader.from_dict(head)
    with pysam.AlignmentFile(str(path), "wc" if path.suffix == ".cram" else "wb", header=header) as file:
        for number, quality in enumerate(scores):
            read = pysam.AlignedSegment(header)
            read.query_name, read.query_sequence, read.flag = f"read{number}", "ACGT" * 10, 4
            read.query_qualities = None if quality is None else quality
            file.write(read)
    return path


def vcf(path: Path, samples: str = "A\tB", lengths: Mapping[str, int] = LENGTHS, rows: str = "") -> Path:
    """Plain variants, as bgzip or BCF too if the name says so."""
    lines = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    lines += ['##INFO=<ID=END,Number=1,Type=Integer,Description="e">', '##ALT=<ID=NON_REF,Description="any">']
    lines += [f"##contig=<ID={name},length={length}>" for name, length in lengths.items()]
    lines.append(COLUMNS + (f"\tFORMAT\t{samples}" if samples else ""))
    plain = path.with_name("plain.vcf") if path.suffix != ".vcf" else path
    plain.write_text("\n".join(lines) + "\n" + rows)
    if path.suffix == ".gz":
        pysam.tabix_compress(str(plain), str(path), force=True)
    elif path.suffix == ".bcf":
        pysam.bcftools.view("-Ob", "-o", str(path), str(plain), catch_stdout=False)
    return path


def group(sample: str = "", library: str = "", id: str = "1", **more: str) -> dict[str, str]:
    return {"ID": id, **({"SM": sample} if sample else {}), **({"LB": library} if library else {}), **more}


# what is taken


@pytest.mark.parametrize("suffix", ["bam", "cram"])
def test_an_alignment_says_sample_library_order_duplicates_and_reference(
    tmp_path: Path, store: Store, add: Callable[..., str], suffix: str
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = bam(tmp_path / f"a.{suffix}", group("0123", "lib"), programs=("bwa", "MarkDuplicates"))
    assert said(store, path) == {
        "sample": "0123",
        "library": "lib",
        "sorted_by": "coordinate",
        "duplicates_marked": "true",
        "reference_cid": reference,
        "build": "T",
    }


def test_read_groups_of_one_sample_are_one_sample_and_libraries_may_differ(
    tmp_path: Path, store: Store
) -> None:
    two = bam(tmp_path / "a.bam", group("S", "x"), group("S", "y", id="2"), order="")
    assert said(store, two) == {"sample": "S"}
    lacks_one = bam(tmp_path / "b.bam", group("S", "x"), group("S", id="2"), order="unsorted")
    assert said(store, lacks_one) == {"sample": "S"}
    same = bam(tmp_path / "c.bam", group("a/b c", "x"), group("a/b c", "x", id="2"), order="queryname")
    assert said(store, same) == {"sample": "a/b c", "library": "x", "sorted_by": "queryname"}


@pytest.mark.parametrize(
    ("lengths", "fits"),
    [
        (dict(reversed(LENGTHS.items())), True),
        (LENGTHS | {"chr2": 71}, False),
        ({"chr1": 100}, False),
        (LENGTHS | {"chrEBV": 5}, False),
        ({}, False),
    ],
    ids=["other order", "other length", "a part", "one more", "none"],
)
def test_a_reference_is_taken_where_contigs_and_lengths_are_the_same(
    tmp_path: Path, store: Store, add: Callable[..., str], lengths: dict[str, int], fits: bool
) -> None:
    add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    assert ("reference_cid" in said(store, bam(tmp_path / "a.bam", group("S"), lengths=lengths))) == fits


def test_a_checksum_tells_two_references_apart_and_without_one_nothing_is_guessed(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    sequences = {"c": "ACGT" * 5}
    pysam.dict("-o", str(tmp_path / "r.dict"), str(fasta(tmp_path / "r.fa", sequences)))
    md5 = (tmp_path / "r.dict").read_text().partition("M5:")[2].split()[0]
    first = add(tmp_path / "r.fa", Reference(build="one"))
    add(fasta(tmp_path / "other.fa", {"c": "TGCA" * 5}), Reference(build="two"))
    with_md5 = bam(tmp_path / "a.bam", group("S"), lengths={"c": 20}, md5=md5)
    assert said(store, with_md5)["reference_cid"] == first
    assert said(store, with_md5)["build"] == "one"
    without = bam(tmp_path / "b.bam", group("S"), lengths={"c": 20})
    assert "reference_cid" not in said(store, without)
    assert said(store, without, build="one")["reference_cid"] == first


def test_a_superseded_reference_is_not_taken(
    tmp_path: Path, store: Store, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fasta(tmp_path / "old.fa"), Reference(build="old"))
    new = add(
        fasta(tmp_path / "new.fa", {name: text.lower() for name, text in SEQUENCES.items()}),
        Reference(build="T"),
    )
    path = bam(tmp_path / "a.bam", group("S"))
    assert "reference_cid" not in said(store, path)
    (old,) = store.query({"build": "old"})
    (record,) = store.query({"build": "T"})
    supersede(store, old, record)
    assert said(store, path)["reference_cid"] == new


def test_a_reference_with_two_names_gives_no_build(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    cid = add(fasta(tmp_path / "r.fa"), Reference(build="hg38"))
    add(tmp_path / "r.fa", Reference(build="GRCh38"))
    found = said(store, bam(tmp_path / "a.bam", group("S")))
    assert (found["reference_cid"], found.get("build")) == (cid, None)
    assert said(store, tmp_path / "a.bam", build="hg38")["build"] == "hg38"


@pytest.mark.parametrize("name", ["v.vcf", "v.vcf.gz", "v.bcf"])
def test_variants_say_samples_and_reference(
    tmp_path: Path, store: Store, add: Callable[..., str], name: str
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = vcf(tmp_path / name, "NA1\t2", {"chr1": 100})
    assert said(store, path) == {"samples": '["NA1", "2"]', "reference_cid": reference, "build": "T"}
    assert said(store, vcf(tmp_path / name, "", {"chr1": 101})) == {}


def test_variants_without_lengths_of_contigs_are_not_guessed(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = tmp_path / "v.vcf"
    path.write_text(f"##fileformat=VCFv4.2\n##contig=<ID=chr1>\n{COLUMNS}\nchr1\t5\t.\tA\tC\t.\t.\t.\n")
    assert said(store, path) == {}
    path.write_text(f"##fileformat=VCFv4.2\n{COLUMNS}\nchr1\t5\t.\tA\tC\t.\t.\t.\n")
    assert said(store, path) == {}


BLOCK = "chr1\t1\t.\tA\t{}\t.\t.\t{}\tGT\t0/0\n"


@pytest.mark.parametrize("name", ["v.vcf", "v.vcf.gz", "v.bcf"])
def test_a_gvcf_is_one_by_its_records_and_not_by_its_header(tmp_path: Path, name: str) -> None:
    gatk = BLOCK.format("<NON_REF>", "END=9") + BLOCK.format("C,<NON_REF>", ".")
    assert is_gvcf(vcf(tmp_path / name, "A", rows=gatk))
    assert not is_gvcf(vcf(tmp_path / name, "A", rows=BLOCK.format("C", ".") * 300))
    assert not is_gvcf(vcf(tmp_path / name, "A"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (BLOCK.format("<*>", "END=9"), True),
        (BLOCK.format("<*>", "DP=9"), False),
        (BLOCK.format("C,<*>", "END=9"), False),
        (BLOCK.format("<*>", "END=9").replace("GT\t0/0", "PL\t0,1,2"), False),
        (BLOCK.format("<DEL>", "END=9"), False),
    ],
)
def test_a_block_of_other_callers_has_an_end_and_a_genotype(tmp_path: Path, row: str, expected: bool) -> None:
    assert is_gvcf(vcf(tmp_path / "v.vcf", "A", rows=row)) == expected


def test_real_files_say_what_they_are(store: Store, add: Callable[..., str], test_data: Path) -> None:
    tp53, chr20 = test_data / "tp53", test_data / "na12878_chr20"
    build = add(tp53 / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    found = said(store, tp53 / "NA12829_TP53_markdup.bam")
    assert found["sample"] == "NA12829"
    assert found["duplicates_marked"] == "true"
    assert found["reference_cid"] == build
    gvcf = said(store, tp53 / "NA12829_TP53.g.vcf")
    assert (gvcf["samples"], gvcf["kind"]) == ('["NA12829"]', "gvcf")
    calls = said(store, next(chr20.glob("*.vcf.gz")))
    assert "kind" not in calls
    assert len(json.loads(calls["samples"])) == 1


def test_a_matrix_says_its_size_and_layers(tmp_path: Path, store: Store) -> None:
    assert said(store, matrix(tmp_path / "m.h5ad")) == {"n_obs": "1", "n_vars": "3", "layers": '["counts"]'}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            lambda file: file.pop("obs"),
            "'m.h5ad' is HDF5, but no h5ad: it has no 'obs'; it has 'layers', 'var'",
        ),
        (lambda file: file["obs"].attrs.update(_index=[1, 2]), "'m.h5ad' cannot be read as h5ad: "),
        (
            lambda file: (file.pop("layers"), file.create_dataset("layers", data=3)),
            "'m.h5ad' cannot be read as h5ad: ",
        ),
    ],
    ids=["no obs", "no name of the index", "layers that are a number"],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, store: Store, change: Any, error: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(matrix(tmp_path / "m.h5ad"), "a") as file:
        change(file)
    assert error in refused(store, tmp_path / "m.h5ad", AnnData())


def matrix(path: Path) -> Path:
    """One cell and three genes, with one layer."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_group("layers")["counts"] = [[1, 2, 3]]
        for table, size in (("obs", 1), ("var", 3)):
            file.create_group(table).attrs["_index"] = "name"
            file[table]["name"] = [b"x"] * size
    return path


# samples and libraries


def test_several_samples_are_to_be_split(tmp_path: Path, store: Store, add: Callable[..., str]) -> None:
    path = bam(tmp_path / "my pool.bam", group("A"), group("B", id="2"))
    for error in (refused(store, path, Alignment(sample="A")), _unsaid(store, path)):
        assert "'my pool.bam' holds reads of 2 samples ('A', 'B', @RG SM)" in error
        assert "`samtools split -f '%!.bam' 'my pool.bam'`" in error
        assert "add each" in error
    assert add(path, Alignment(sample="A"), force=True)


def test_no_sample_is_to_be_given(tmp_path: Path, store: Store, add: Callable[..., str]) -> None:
    for path in (bam(tmp_path / "a.bam"), bam(tmp_path / "b.bam", group())):
        assert "its header names none (@RG SM): give sample=NAME" in _unsaid(store, path)
        assert "sample" not in said(store, path, sample="S")
        with pytest.warns(UserWarning, match="without a check of sample=S: its header names no sample"):
            add(path, Alignment(sample="S"))


def _unsaid(store: Store, path: Path) -> str:
    with pytest.raises(InvalidAssetError) as caught:
        said(store, path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["bam", "cram"])
def test_another_sample_than_the_header_names_is_refused(tmp_path: Path, store: Store, suffix: str) -> None:
    path = bam(tmp_path / f"a.{suffix}", group("NA1"), group("NA1", id="2"))
    error = refused(store, path, Alignment(sample="na1"))
    assert (
        "is of the sample 'NA1' according to its header (@RG SM), and sample=na1 was given: give sample=NA1"
        in error
    )


def test_another_library_than_the_header_names_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    path = bam(tmp_path / "a.bam", group("S", "x"))
    assert "give library=x, or leave that out" in refused(store, path, Alignment(sample="S", library="y"))
    assert add(path, Alignment(sample="S", library="x"))
    several = bam(tmp_path / "b.bam", group("S", "x"), group("S", "y", id="2"))
    assert add(several, Alignment(sample="S", library="pooled"))


@pytest.mark.parametrize("platform", ["ONT", "PACBIO", "ILLUMINA"])
def test_reads_of_every_platform_can_be_registered(
    tmp_path: Path, add: Callable[..., str], platform: str
) -> None:
    assert add(bam(tmp_path / "a.bam", group("S", PL=platform)), Alignment(sample="S"))


def test_an_order_that_the_header_does_not_name_is_said(tmp_path: Path, add: Callable[..., str]) -> None:
    path = bam(tmp_path / "a.bam", group("S"), order="")
    with pytest.warns(UserWarning, match=r"sorted_by=coordinate: its header names no order \(@HD SO\)"):
        add(path, Alignment(sample="S", sorted_by="coordinate"))


def test_a_bundle_is_held_to_the_header_too(tmp_path: Path, store: Store) -> None:
    theirs = open_store(tmp_path / "theirs")
    path = bam(tmp_path / "a.bam", group("NA1"))
    records = theirs.add([Addition(path, Alignment(sample="NA2"), force=True)])
    bundle = find_bundle(str(bundles.make(theirs, "wrong", records, tmp_path / "out").path), store.root)
    (failure,) = bundles.fetch(store, bundle).failed
    assert "is of the sample 'NA1'" in failure.reason


# builds


def wrong_build(tmp_path: Path, name: str) -> tuple[Path, Callable[..., Asset]]:
    lengths = LENGTHS | {"chr2": 69}
    if name.endswith("bam"):
        return bam(tmp_path / name, group("S"), lengths=lengths), lambda **of: Alignment(sample="S", **of)
    path = vcf(tmp_path / name, lengths=lengths)
    return path, lambda **of: KnownSites(name="k", **of) if name == "k.vcf" else Variants(**of)


@pytest.mark.parametrize("name", ["a.bam", "v.vcf.gz", "v.bcf", "k.vcf"])
def test_a_build_whose_reference_has_other_contigs_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], name: str
) -> None:
    add(fasta(tmp_path / "r.fa"), Reference(build="GRCh37"))
    path, asset = wrong_build(tmp_path, name)
    error = refused(store, path, asset(build="GRCh37"))
    assert (
        f"{name!r}: build=GRCh37 was given, and it does not belong to the reference GRCh37: contig 'chr2' has 69"
        in error
    )
    add(fasta(tmp_path / "p.fa", SEQUENCES | {"chr2": "A" * 69}), Reference(build="GRCh37"))
    assert add(path, asset(build="GRCh37")), "one reference of the build fits"


def test_a_build_whose_reference_has_another_checksum_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    add(fasta(tmp_path / "r.fa"), Reference(build="GRCh37"))
    path = bam(tmp_path / "a.bam", group("S"), md5="0" * 32)
    assert "another checksum (M5)" in refused(store, path, Alignment(sample="S", build="GRCh37"))


def test_a_build_beside_the_reference_of_another_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    cid = add(fasta(tmp_path / "r.fa"), Reference(build="GRCh38"))
    path = bam(tmp_path / "a.bam", group("S"))
    error = refused(store, path, Alignment(sample="S", build="GRCh37", reference_cid=cid))
    assert "build=GRCh37 was given, and reference_cid is that of the reference GRCh38" in error
    assert said(store, path, reference_cid=cid)["build"] == "GRCh38"


def test_a_build_that_nothing_here_tells_of_is_said(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    add(fasta(tmp_path / "r.fa"), Reference(build="GRCh38"))
    path = bam(tmp_path / "a.bam", group("S"))
    with pytest.warns(
        UserWarning, match="build=hg38: no reference of this build .*; its contigs are those of GRCh38"
    ):
        add(path, Alignment(sample="S", build="hg38"))


def test_a_part_of_a_genome_may_be_of_its_build(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    add(fasta(tmp_path / "r.fa", {"chr1": SEQUENCES["chr1"]}), Reference(build="T"))
    with warnings.catch_warnings(action="error"):
        add(bam(tmp_path / "a.bam", group("S")), Alignment(sample="S", build="T"))
        add(vcf(tmp_path / "v.vcf"), Variants(build="T", samples=["A", "B"]))


# what cannot be compared


def test_what_points_at_bytes_that_are_elsewhere_is_said(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = bam(tmp_path / "a.bam", group("S"))
    pysam.index(str(path))
    alignment = add(path, Alignment(sample="S"))
    for cid in (reference, alignment):
        store.objects.remove(cid)
    with pytest.warns(
        UserWarning, match=f"reference_cid={reference}: the contigs of that reference are not known"
    ):
        add(bam(tmp_path / "b.bam", group("S", "x")), Alignment(sample="S", reference_cid=reference))
    with pytest.warns(
        UserWarning, match=f"alignment_cid={alignment}: the bytes of that alignment are not on this"
    ):
        add(tmp_path / "a.bam.bai", AlignmentIndex(alignment_cid=alignment))


def test_the_size_of_a_matrix_is_not_checked_without_h5py_and_that_is_said(
    tmp_path: Path, store: Store, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = matrix(tmp_path / "m.h5ad")
    monkeypatch.setitem(sys.modules, "h5py", None)
    said_of = (
        r"'m.h5ad' is registered without a check of n_obs=500, layers=raw: h5py is not installed \(`pip inst"
    )
    with pytest.warns(UserWarning, match=said_of):
        add(path, AnnData(n_obs=500, layers=["raw"]))
    assert said(store, path) == {}
    with warnings.catch_warnings(action="error"):
        add(path, AnnData(sample="nothing is claimed"))
    path.write_bytes(path.read_bytes()[:-1])
    assert "'m.h5ad' is truncated: it has " in refused(store, path, AnnData(n_obs=500))


# qualities

OLD = [[31 + quality for quality in range(2, 42)]] * 50


def test_qualities_in_phred_64_are_refused_with_the_remedy(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    path = bam(tmp_path / "old.bam", group("S"), scores=OLD)
    error = refused(store, path, Alignment(sample="S"))
    assert (
        "'old.bam': its base qualities are Phred+64 that were read as Phred+33: Q33 to Q72 in its first 50"
        in error
    )
    assert "`gatk FixMisencodedBaseQualityReads`" in error
    assert add(path, Alignment(sample="S"), force=True)


@pytest.mark.parametrize(
    "scores",
    [
        [[40] * 40] * 50,
        [None] * 50,
        [None, *OLD[:3]],
        [[2, 37] * 20] * 50,
        [[93] * 40, [40] * 40] * 50,
        [[60] * 20 + [2] * 20] * 50,
        [],
    ],
    ids=["all Q40", "none", "too few to tell", "binned", "HiFi", "recalibrated", "no reads"],
)
def test_other_qualities_are_taken(tmp_path: Path, add: Callable[..., str], scores: Any) -> None:
    assert add(bam(tmp_path / "a.bam", group("S"), scores=scores), Alignment(sample="S"))


def test_a_bam_whose_first_reads_are_damaged_is_refused(tmp_path: Path, store: Store) -> None:
    raw = bam(tmp_path / "a.bam", group("S"), scores=[[40] * 40])
    data = gzip.decompress(raw.read_bytes())
    with pysam.BGZFile(str(tmp_path / "b.bam"), "wb") as file:
        file.write(data[:-5])
    error = refused(store, tmp_path / "b.bam", Alignment(sample="S"))
    assert "'b.bam': its reads cannot be read: " in error
