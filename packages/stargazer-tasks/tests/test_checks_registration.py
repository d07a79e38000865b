"""Checks at registration: what contradicts the file that it claims to belong to is refused, what fits is taken."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysam
import pysam.bcftools
import pytest
from stargazer.assets import (
    R1,
    Alignment,
    AlignmentIndex,
    AnnData,
    Asset,
    FormatError,
    KnownSites,
    Reference,
    ReferenceGzipIndex,
    ReferenceIndex,
    SequenceDict,
    Variants,
    VariantsIndex,
)
from stargazer.assets.provenance import Import
from stargazer.storage import Addition, Lookup, Store, bundles, open_store
from stargazer.storage.bundles import find_bundle
from stargazer.tasks.checks.indexes import alignment_index, variants_index

SEQUENCES = {"chr1": "ACGTN" * 8000, "chr2": "GATTACA" * 3000, "chr3": "TTGCA" * 400}
LENGTHS = {name: len(sequence) for name, sequence in SEQUENCES.items()}
LITTLE = 16 << 20  # bytes that a check reads of a file of any size
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bytes_read() -> int:
    """What this process has read so far, through whatever library."""
    return int(Path("/proc/self/io").read_text().split()[1])


def refused(store: Store, path: Path, asset: Asset) -> str:
    """Why a file is refused, which must leave no record."""
    before = {record.id for record in store.query({})}
    with pytest.raises(FormatError) as caught:
        store.add([Addition(path, asset)])
    assert {record.id for record in store.query({})} == before
    return str(caught.value)


def what_ran(store: Store, cid: str) -> list[str]:
    """The checks that the import of a file names, without distribution."""
    return [name.split(" (stargazer-tasks ")[0] for name in import_of(store, cid).checks]


def import_of(store: Store, cid: str) -> Import:
    document = store.document(store.documents(cid)[0])
    assert isinstance(document, Import)
    return document


def fasta(path: Path, sequences: dict[str, str] = SEQUENCES) -> Path:
    with open(path, "w") as file:
        for name, sequence in sequences.items():
            lines = [sequence[at : at + 60] for at in range(0, len(sequence), 60)]
            file.write(f">{name} a title\n" + "\n".join(lines) + "\n")
    return path


def bam(
    path: Path, lengths: dict[str, int] = LENGTHS, *, seed: int = 0, md5: str = "", mode: str = "wb"
) -> Path:
    """A sorted alignment with reads everywhere; each seed has others."""
    contigs = [{"SN": name, "LN": length} | ({"M5": md5} if md5 else {}) for name, length in lengths.items()]
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": contigs})
    reference = str(path.parent / "for_cram.fa")
    if mode == "wc":
        pysam.faidx(str(fasta(Path(reference))))
    with pysam.AlignmentFile(
        str(path), mode, header=header, reference_filename=reference if mode == "wc" else None
    ) as file:
        for number, length in enumerate(lengths.values()):
            for start in range(seed * 7, length - 100, 11 + seed):
                read = pysam.AlignedSegment(header)
                read.query_name = f"read{seed}.{number}.{start}.{hash((seed, start)) % 10**9}"
                read.query_sequence = "ACGT" * 25
                read.query_qualities = pysam.qualitystring_to_array("I" * 100)
                read.reference_id, read.reference_start = number, start
                read.cigarstring, read.mapping_quality = "100M", 60
                file.write(read)
    return path


def vcf(path: Path, lengths: dict[str, int] = LENGTHS, *, columns: str = "A\tB", step: int = 3) -> Path:
    lines = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    lines += [f"##contig=<ID={name},length={length}>" for name, length in lengths.items()]
    lines.append(f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{columns}")
    calls = "\t".join("0/1" for _ in columns.split("\t"))
    for name, length in lengths.items():
        lines += [f"{name}\t{at}\t.\tA\tC\t9\t.\t.\tGT\t{calls}" for at in range(1, length, step)]
    path.with_suffix("").write_text("\n".join(lines) + "\n")
    pysam.tabix_compress(str(path.with_suffix("")), str(path), force=True)
    return path


def large(path: Path, end: bytes = b"") -> Path:
    """A file that goes on with nothing up to 10 GB, without taking up space."""
    with open(path, "r+b") as file:
        file.truncate(10 << 30)
        file.seek(0, os.SEEK_END)
        file.write(end)
    return path


# alignments


def test_an_alignment_that_fits_is_taken_and_the_check_is_written_down(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    cid = add(bam(tmp_path / "a.bam"), Alignment(sample="S", reference_cid=reference, sorted_by="coordinate"))
    assert what_ran(store, cid) == ["alignment.contigs", "alignment.order", "alignment.qualities"]
    assert import_of(store, cid).forced == []


def test_an_alignment_to_a_whole_genome_may_claim_a_part_of_it(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    part = add(fasta(tmp_path / "r.fa", {"chr2": SEQUENCES["chr2"]}), Reference(build="part"))
    assert what_ran(store, add(bam(tmp_path / "a.bam"), Alignment(sample="S", reference_cid=part)))


@pytest.mark.parametrize(
    ("lengths", "md5", "reason"),
    [
        ({"1": 40000, "2": 21000}, "", "have no contig in common: '1', '2' and 'chr1', 'chr2', 'chr3'"),
        (
            LENGTHS | {"chr2": 20999},
            "",
            "contig 'chr2' has 20,999 bases in its header and 21,000 in the reference",
        ),
        (LENGTHS, "0" * 32, "the sequence of contig 'chr1' has another checksum (M5)"),
    ],
)
def test_an_alignment_to_another_build_is_refused(
    tmp_path: Path,
    store: Store,
    add: Callable[..., str],
    lengths: dict[str, int],
    md5: str,
    reason: str,
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = bam(tmp_path / "a.bam", lengths, md5=md5)
    error = refused(store, path, Alignment(sample="S", reference_cid=reference))
    assert reason in error
    assert "'a.bam'" in error
    assert "reference T" in error
    assert "--force" in error
    assert str(tmp_path) not in error


def test_a_cram_of_another_reference_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    sequences = SEQUENCES | {"chr1": SEQUENCES["chr1"].replace("N", "A")}
    reference = add(fasta(tmp_path / "r.fa", sequences), Reference(build="T"))
    path = bam(tmp_path / "a.cram", mode="wc")
    assert "(M5)" in refused(store, path, Alignment(sample="S", reference_cid=reference))


def test_ten_gigabytes_of_another_build_are_refused_within_a_second(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = large(bam(tmp_path / "big.bam", LENGTHS | {"chr2": 5}), BGZF_END)
    before = bytes_read()
    assert "contig 'chr2' has 5 bases" in refused(store, path, Alignment(sample="S", reference_cid=reference))
    assert bytes_read() - before < LITTLE, "it read more than the header"


def test_a_large_reference_speaks_through_its_dictionary_or_its_index(
    tmp_path: Path, store: Store, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargazer.assets.formats.fasta.SMALL", 100)
    path = fasta(tmp_path / "r.fa")
    reference = add(path, Reference(build="T"))
    wrong = bam(tmp_path / "a.bam", LENGTHS | {"chr2": 20999})
    pysam.faidx(str(path))
    add(tmp_path / "r.fa.fai", ReferenceIndex(reference_cid=reference))
    assert "20,999" in refused(store, wrong, Alignment(sample="S", reference_cid=reference))
    other = bam(tmp_path / "b.bam", md5="0" * 32)
    pysam.dict("-o", str(tmp_path / "r.dict"), str(path))
    add(tmp_path / "r.dict", SequenceDict(reference_cid=reference))
    assert "(M5)" in refused(store, other, Alignment(sample="S", reference_cid=reference))


def test_no_other_file_is_looked_at_where_nothing_is_claimed(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    assert what_ran(store, add(bam(tmp_path / "a.bam"), Alignment(sample="S"))) == ["alignment.qualities"]


def test_an_order_that_the_header_contradicts_is_refused(tmp_path: Path, store: Store) -> None:
    error = refused(store, bam(tmp_path / "a.bam"), Alignment(sample="S", sorted_by="queryname"))
    assert "sorted by coordinate" in error
    assert "give sorted_by=coordinate" in error


def test_a_damaged_header_is_refused(tmp_path: Path, store: Store, add: Callable[..., str]) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = tmp_path / "a.bam"
    pysam.tabix_compress(str(write(tmp_path / "raw", b"BAM\x01\xff\xff\xff\x7f@HD")), str(path), force=True)
    assert "header cannot be read" in refused(store, path, Alignment(sample="S", reference_cid=reference))


def test_forced_is_registered_and_says_why_not(tmp_path: Path, store: Store, add: Callable[..., str]) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = bam(tmp_path / "a.bam", LENGTHS | {"chr2": 20999})
    cid = add(path, Alignment(sample="S", reference_cid=reference), force=True)
    (reason,) = import_of(store, cid).forced
    assert "20,999 bases" in reason
    assert "--force" not in reason
    assert str(tmp_path) not in reason
    assert "alignment.contigs" in what_ran(store, cid)


# variants


def test_variants_that_fit_are_taken(tmp_path: Path, store: Store, add: Callable[..., str]) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = vcf(tmp_path / "v.vcf.gz")
    cid = add(path, Variants(samples=["B", "A"], reference_cid=reference))
    assert what_ran(store, cid) == ["variants.contigs", "variants.samples"]
    pysam.bcftools.view("-Ob", "-o", str(tmp_path / "v.bcf"), str(path), catch_stdout=False)
    binary = add(tmp_path / "v.bcf", Variants(samples=["A", "B"], reference_cid=reference))
    assert what_ran(store, binary) == ["variants.contigs", "variants.samples"]


@pytest.mark.parametrize("kind", ["vcf.gz", "vcf", "bcf"])
def test_variants_of_other_samples_or_another_build_are_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], kind: str
) -> None:
    reference = add(fasta(tmp_path / "r.fa", SEQUENCES | {"chr3": "A"}), Reference(build="T"))
    path = vcf(tmp_path / "v.vcf.gz")
    if kind == "bcf":
        pysam.bcftools.view("-Ob", "-o", str(tmp_path / "v.bcf"), str(path), catch_stdout=False)
    path = tmp_path / f"v.{kind}"
    assert "samples=A,C was given: give samples=A,B" in refused(store, path, Variants(samples=["A", "C"]))
    assert "contig 'chr3' has 2,000" in refused(store, path, Variants(reference_cid=reference))


def test_sites_without_contig_lines_are_judged_by_their_first_record(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    head = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    here = write(tmp_path / "here.vcf", head + b"chr2\t5\t.\tA\tC\t.\t.\t.\n")
    assert what_ran(store, add(here, KnownSites(name="x", reference_cid=reference))) == [
        "known_sites.contigs"
    ]
    there = write(tmp_path / "there.vcf", head + b"17\t5\t.\tA\tC\t.\t.\t.\n")
    assert "no contig in common" in refused(store, there, KnownSites(name="x", reference_cid=reference))


def test_ten_gigabytes_of_other_samples_or_another_build_are_refused_within_a_second(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa", SEQUENCES | {"chr3": "A"}), Reference(build="T"))
    path = large(vcf(tmp_path / "v.vcf.gz"), BGZF_END)
    before = bytes_read()
    assert "samples=A,C was given" in refused(store, path, Variants(samples=["A", "C"]))
    assert "contig 'chr3' has 2,000" in refused(store, path, Variants(reference_cid=reference))
    assert bytes_read() - before < LITTLE, "it read more than the header"


# indices


@pytest.mark.parametrize("suffix", ["bai", "csi"])
def test_the_index_of_another_alignment_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], suffix: str
) -> None:
    options = ["-c"] if suffix == "csi" else []
    paths = [bam(tmp_path / f"{name}.bam", seed=seed) for seed, name in enumerate("ab")]
    for path in paths:
        pysam.index(*options, str(path))
    first = add(paths[0], Alignment(sample="S"))
    own = add(tmp_path / f"a.bam.{suffix}", AlignmentIndex(alignment_cid=first))
    assert what_ran(store, own) == ["alignment_index.primary"]
    error = refused(store, tmp_path / f"b.bam.{suffix}", AlignmentIndex(alignment_cid=first))
    assert f"'b.bam.{suffix}' is not the index of the alignment" in error
    assert "samtools index" in error


def test_an_index_may_come_together_with_what_it_belongs_to(tmp_path: Path, store: Store) -> None:
    path = bam(tmp_path / "a.bam")
    other = bam(tmp_path / "b.bam", {"chr1": 40000})
    for each in (path, other):
        pysam.index(str(each))
    alignment = Alignment(sample="S")
    wrong = [
        Addition(path, alignment),
        Addition(tmp_path / "b.bam.bai", AlignmentIndex(alignment_cid=alignment)),
    ]
    with pytest.raises(FormatError, match="it has 1 contigs, the alignment 3"):
        store.add(wrong)
    right = [
        Addition(path, alignment),
        Addition(tmp_path / "a.bam.bai", AlignmentIndex(alignment_cid=alignment)),
    ]
    assert len(store.add(right)) == 2


def test_the_index_of_another_alignment_of_ten_gigabytes_is_refused_within_a_second(
    tmp_path: Path, store: Store
) -> None:
    paths = [bam(tmp_path / f"{name}.bam", seed=seed) for seed, name in enumerate("ab")]
    pysam.index(str(paths[1]))
    alignment = Alignment(sample="S")
    wrong = [
        Addition(large(paths[0], BGZF_END), alignment),
        Addition(tmp_path / "b.bam.bai", AlignmentIndex(alignment_cid=alignment)),
    ]
    before = bytes_read()
    with pytest.raises(FormatError, match="is not the index of the alignment"):
        store.add(wrong)
    assert bytes_read() - before < LITTLE, "it read more than the index and what it points at"


@pytest.mark.parametrize("suffix", ["tbi", "csi"])
def test_the_index_of_other_variants_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], suffix: str
) -> None:
    paths = [vcf(tmp_path / f"{name}.vcf.gz", step=step) for name, step in (("a", 3), ("b", 4))]
    paths.append(vcf(tmp_path / "c.vcf.gz", {"17": 9999}))
    for path in paths:
        pysam.tabix_index(str(path), preset="vcf", csi=suffix == "csi", force=True)
    first = add(paths[0], Variants())
    own = add(tmp_path / f"a.vcf.gz.{suffix}", VariantsIndex(variants_cid=first))
    assert what_ran(store, own) == ["variants_index.primary"]
    for name in "bc":
        wrong = tmp_path / f"{name}.vcf.gz.{suffix}"
        assert "is not the index" in refused(store, wrong, VariantsIndex(variants_cid=first))


def test_the_index_of_a_bcf_is_checked_by_contig_numbers(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    for name, step in (("a", 3), ("b", 5)):
        source = vcf(tmp_path / f"{name}.vcf.gz", step=step)
        pysam.bcftools.view("-Ob", "-o", str(tmp_path / f"{name}.bcf"), str(source), catch_stdout=False)
        pysam.bcftools.index(str(tmp_path / f"{name}.bcf"), catch_stdout=False)
    first = add(tmp_path / "a.bcf", Variants())
    assert what_ran(store, add(tmp_path / "a.bcf.csi", VariantsIndex(variants_cid=first)))
    assert "is not the index" in refused(store, tmp_path / "b.bcf.csi", VariantsIndex(variants_cid=first))


@pytest.mark.parametrize("cut", [4, 7, 8, 9, 40, 200])
def test_a_damaged_index_is_refused_without_a_traceback(
    tmp_path: Path, store: Store, add: Callable[..., str], cut: int
) -> None:
    path = bam(tmp_path / "a.bam")
    pysam.index(str(path))
    first = add(path, Alignment(sample="S"))
    index = tmp_path / "a.bam.bai"
    write(index, index.read_bytes()[:cut])
    assert "is not the index" in refused(store, index, AlignmentIndex(alignment_cid=first))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["bai", "csi", "tbi"])
def test_no_byte_of_an_index_leads_astray(tmp_path: Path, suffix: str) -> None:
    is_bam = suffix in ("bai", "csi")
    primary: Any = Alignment(sample="S") if is_bam else Variants()
    path = bam(tmp_path / "a.bam") if is_bam else vcf(tmp_path / "a.vcf.gz")
    if is_bam:
        pysam.index(*(["-c"] if suffix == "csi" else []), str(path))
    else:
        pysam.tabix_index(str(path), preset="vcf")
    raw = Path(f"{path}.{suffix}").read_bytes()
    data = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    lookup = Lookup([Addition(path, primary)], lambda pairs: [])
    check = alignment_index if is_bam else variants_index
    index: Any = AlignmentIndex(alignment_cid=primary) if is_bam else VariantsIndex(variants_cid=primary)
    for at in range(4, min(len(data), 160)):
        for byte in (0, 127, 128, 255):
            damaged = data[:at] + bytes([byte]) + data[at + 1 :]
            with contextlib.suppress(FormatError):
                check(index, write(tmp_path / "damaged", damaged), lookup)


# what accompanies a reference


@pytest.mark.parametrize("compressed", [False, True])
def test_what_accompanies_another_reference_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], compressed: bool
) -> None:
    other = {"chr1": SEQUENCES["chr1"][:-1], "chr2": SEQUENCES["chr2"], "chr3": SEQUENCES["chr3"]}
    paths = []
    for name, sequences in {"a": SEQUENCES, "b": other}.items():
        path = fasta(tmp_path / f"{name}.fa", sequences)
        pysam.dict("-o", str(tmp_path / f"{name}.dict"), str(path))
        if compressed:
            pysam.tabix_compress(str(path), f"{path}.gz", force=True)
            path = Path(f"{path}.gz")
        pysam.faidx(str(path))
        paths.append(path)
    reference = add(paths[0], Reference(build="T"))
    assert what_ran(store, add(Path(f"{paths[0]}.fai"), ReferenceIndex(reference_cid=reference)))
    assert what_ran(store, add(tmp_path / "a.dict", SequenceDict(reference_cid=reference)))
    error = refused(store, Path(f"{paths[1]}.fai"), ReferenceIndex(reference_cid=reference))
    assert "is not the index of the reference T: the sequence of 'chr1' does not end" in error
    error = refused(store, tmp_path / "b.dict", SequenceDict(reference_cid=reference))
    assert "contig 'chr1' has 39,999 bases in it, 40,000 there" in error
    if compressed:
        assert what_ran(store, add(Path(f"{paths[0]}.gzi"), ReferenceGzipIndex(reference_cid=reference)))
        wrong = write(tmp_path / "w.gzi", (1).to_bytes(8, "little") + (9).to_bytes(8, "little") * 2)
        assert "no block begins" in refused(store, wrong, ReferenceGzipIndex(reference_cid=reference))


def test_a_dictionary_with_a_contig_too_few_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    some = fasta(tmp_path / "s.fa", {"chr1": SEQUENCES["chr1"]})
    pysam.dict("-o", str(tmp_path / "s.dict"), str(some))
    error = refused(store, tmp_path / "s.dict", SequenceDict(reference_cid=reference))
    assert "lacks 'chr2', 'chr3'" in error


@pytest.mark.parametrize("text", ["@@@", "chr1\t5\n", "chr1\tx\t6\t60\t61\n"])
def test_what_is_no_index_at_all_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], text: str
) -> None:
    reference = add(fasta(tmp_path / "r.fa"), Reference(build="T"))
    path = write(tmp_path / "r.fa.fai", text.encode())
    assert "not a FASTA index" in refused(store, path, ReferenceIndex(reference_cid=reference))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\n", "\n\n"])
def test_the_index_of_a_reference_with_odd_line_ends_is_taken(
    tmp_path: Path, store: Store, add: Callable[..., str], ending: str, tail: str
) -> None:
    lines = [">a b", "ACGT", "ACGT", "AC", "", ">c", "ACGT" + tail]
    path = write(tmp_path / "r.fa", "\n".join(lines).replace("\n", ending).encode())
    pysam.faidx(str(path))
    reference = add(path, Reference(build="T"))
    assert what_ran(store, add(tmp_path / "r.fa.fai", ReferenceIndex(reference_cid=reference)))


# reads


def fastq(path: Path, quality: str, *, name: str = "@r{}", count: int = 100, length: int = 100) -> Path:
    quality = (quality * length)[:length]
    records = [f"{name.format(number)}\n{'A' * length}\n+\n{quality}\n" for number in range(count)]
    return write(path, gzip.compress("".join(records).encode("latin-1"), mtime=0))


def test_reads_of_a_platform_that_there_is_not_are_refused(tmp_path: Path, store: Store) -> None:
    path = fastq(tmp_path / "x_R1.fq.gz", "I")
    assert "give one of CAPILLARY, DNBSEQ" in refused(store, path, R1(sample="S", platform="ILUMINA"))


@pytest.mark.parametrize(
    ("name", "platform", "meant"),
    [
        ("@m64012_181221_231243/{}/ccs", "ILLUMINA", "PACBIO"),
        ("@0a1b2c3d-0000-4000-8000-00000000{:04} runid=1", "ILLUMINA", "ONT"),
        ("@A00404:32:HCLWHDSXX:1:1104:20799:{} 1:N:0:ACGT", "ONT", "ILLUMINA"),
    ],
)
def test_reads_named_by_another_platform_are_refused(
    tmp_path: Path, store: Store, add: Callable[..., str], name: str, platform: str, meant: str
) -> None:
    path = fastq(tmp_path / "x_R1.fq.gz", "I", name=name)
    assert f"give platform={meant}" in refused(store, path, R1(sample="S", platform=platform))
    assert what_ran(store, add(path, R1(sample="S", platform=meant.lower()))) == [
        "r1.encoding",
        "r1.platform",
    ]


@pytest.mark.parametrize(
    ("quality", "reason"), [("hhgfeB", "Phred+64"), ("II\x1fI", "is no quality"), ("I\xe9", "is no")]
)
def test_impossible_qualities_are_refused(tmp_path: Path, store: Store, quality: str, reason: str) -> None:
    assert reason in refused(store, fastq(tmp_path / "x_R1.fq.gz", quality), R1(sample="S"))


@pytest.mark.parametrize(
    ("quality", "platform"),
    [("I", "ILLUMINA"), ("F:,#", "ILLUMINA"), ("z{~I", "ILLUMINA"), ("~h", "PACBIO"), ("K?", "ELEMENT")],
)
def test_possible_qualities_are_taken(
    tmp_path: Path, add: Callable[..., str], quality: str, platform: str
) -> None:
    assert add(fastq(tmp_path / "x_R1.fq.gz", quality), R1(sample="S", platform=platform))


@pytest.mark.parametrize(
    ("quality", "platform", "reason"), [("I", "ILUMINA", "give one of"), ("hhgfeB", "ILLUMINA", "Phred+64")]
)
def test_ten_gigabytes_of_impossible_reads_are_refused_within_a_second(
    tmp_path: Path, store: Store, quality: str, platform: str, reason: str
) -> None:
    path = large(fastq(tmp_path / "x_R1.fq.gz", quality, count=1000), BGZF_END)
    before = bytes_read()
    assert reason in refused(store, path, R1(sample="S", platform=platform))
    assert bytes_read() - before < LITTLE, "it read more than the first reads"


# matrices


def test_a_matrix_without_the_claimed_layer_is_refused(
    tmp_path: Path, store: Store, add: Callable[..., str]
) -> None:
    path = matrix(tmp_path / "m.h5ad")
    assert "has no layer 'raw'; it has 'counts'" in refused(store, path, AnnData(layers=["raw"]))
    assert "has n_vars=3, and n_vars=4 was given" in refused(store, path, AnnData(n_vars=4))
    assert what_ran(store, add(path, AnnData(layers=["counts"], n_obs=1, n_vars=3))) == ["anndata.matrix"]


def test_a_matrix_of_ten_gigabytes_without_the_claimed_layer_is_refused_within_a_second(
    tmp_path: Path, store: Store
) -> None:
    path = large(matrix(tmp_path / "m.h5ad"))
    before = bytes_read()
    assert "has no layer 'raw'; it has 'counts'" in refused(store, path, AnnData(layers=["raw"]))
    assert bytes_read() - before < LITTLE, "it read more than the structure"


def test_a_damaged_matrix_is_refused(tmp_path: Path, store: Store) -> None:
    path = matrix(tmp_path / "m.h5ad")
    write(path, path.read_bytes()[:900])
    assert "'m.h5ad' is truncated: it has 900 of " in refused(store, path, AnnData(layers=["counts"]))


def test_a_real_matrix_is_taken_as_what_it_is(store: Store, add: Callable[..., str], test_data: Path) -> None:
    pytest.importorskip("h5py")
    path = test_data / "scrna" / "celltypist_sample.h5ad"
    assert "has no layer 'counts'; it has none" in refused(store, path, AnnData(layers=["counts"]))
    assert "was given" in refused(store, path, AnnData(n_obs=1))
    assert what_ran(store, add(path, AnnData())) == ["anndata.matrix"]


def matrix(path: Path) -> Path:
    """One cell and three genes, with one layer."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_group("layers")["counts"] = [[1, 2, 3]]
        for table, size in (("obs", 1), ("var", 3)):
            file.create_group(table).attrs["_index"] = "name"
            file[table]["name"] = [b"x"] * size
    return path


# real files


def test_real_files_are_taken_with_what_they_belong_to(
    store: Store, add: Callable[..., str], test_data: Path
) -> None:
    tp53, chr20, gatk = test_data / "tp53", test_data / "na12878_chr20", test_data / "gatk_bqsr"
    build = add(tp53 / "GRCh38_TP53.fa", Reference(build="GRCh38"))
    add(
        tp53 / "NA12829_TP53_markdup.bam",
        Alignment(sample="NA12829", reference_cid=build, sorted_by="coordinate"),
    )
    add(tp53 / "NA12829_TP53.g.vcf", Variants(samples=["NA12829"], kind="gvcf", reference_cid=build))
    add(next(tp53.glob("Mills*.vcf")), KnownSites(name="Mills", reference_cid=build))
    add(tp53 / "NA12829_TP53_R1.fq.gz", R1(sample="NA12829"))
    hg19 = add(next(chr20.glob("*.fasta.gz")), Reference(build="hg19"))
    add(next(chr20.glob("*.bam")), Alignment(sample="NA12878", reference_cid=hg19))
    calls = add(next(chr20.glob("*.vcf.gz")), Variants(kind="truth", reference_cid=hg19))
    add(next(chr20.glob("*.tbi")), VariantsIndex(variants_cid=calls))
    b37 = add(gatk / "human_g1k_v37.chr17_1Mb.fasta", Reference(build="b37"))
    add(gatk / "human_g1k_v37.chr17_1Mb.fasta.fai", ReferenceIndex(reference_cid=b37))
    add(gatk / "human_g1k_v37.chr17_1Mb.dict", SequenceDict(reference_cid=b37))
    add(next(gatk.glob("dbsnp*.vcf")), KnownSites(name="dbsnp", reference_cid=b37))
    add(next(gatk.glob("*.bam")), Alignment(sample="NA12878"))
    assert len([record for record in store.query({}) if record.keyvalues["asset"] != "provenance"]) == 14


def test_a_real_alignment_to_another_reference_is_held_back_when_a_bundle_brings_it(
    tmp_path: Path, store: Store, test_data: Path
) -> None:
    """Given somebody who forced the BAM of one build onto another, their bundle registers the reference alone."""
    chr20 = test_data / "na12878_chr20"
    theirs = open_store(tmp_path / "theirs")
    reference = Reference(build="GRCh38")
    (build,) = theirs.add([Addition(test_data / "tp53" / "GRCh38_TP53.fa", reference)])
    path = next(chr20.glob("*.bam"))
    alignment = Alignment(sample="NA12878", reference_cid=build.cid)
    records = [build, *theirs.add([Addition(path, alignment, force=True)])]
    bundle = find_bundle(str(bundles.make(theirs, "wrong", records, tmp_path / "out").path), store.root)

    done = bundles.fetch(store, bundle)

    assert [record.cid for record in done.records] == [build.cid]
    (failure,) = done.failed
    assert failure.name == path.name
    assert "'chr17:7658421-7697490'" in failure.reason
    assert f"{path.name!r} and the reference GRCh38 have no contig in common" in failure.reason
    assert store.query({"asset": "alignment"}) == []

    forced = bundles.fetch(store, bundle, force=True)

    assert forced.failed == []
    (record,) = store.query({"asset": "alignment"})
    assert store.is_foreign(store.documents(record.cid)[0])
    (said,) = store.query({"asset": "provenance", "kind": "check"})
    document = store.document(said.cid)
    assert isinstance(document, Import)
    assert [reason for reason in document.forced if "no contig in common" in reason]
    assert [name.split()[0] for name in document.checks] == [
        "alignment.contigs",
        "alignment.qualities",
        "alignment.sample",
    ]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
