"""Fetching: verified bytes, companions beside the primary under the names tools expect, nothing else."""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
from stargazer.assets import (
    R1,
    R2,
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    Asset,
    AssetNotFoundError,
    IntegrityError,
    Reference,
    ReferenceGzipIndex,
    ReferenceIndex,
    SequenceDict,
    StorageError,
    Variants,
    VariantsIndex,
    fetch,
    use_client,
)

from .memory_client import MemoryClient


@pytest.fixture
def client(tmp_path: Path) -> MemoryClient:
    return MemoryClient(tmp_path)


def names_beside(fetched: Asset) -> list[str]:
    assert fetched.path is not None
    return sorted(path.name for path in fetched.path.parent.iterdir())


def test_a_reference_comes_with_its_index_and_dictionary(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"), b">chr1\nACGT\n")
    client.store(ReferenceIndex(reference_cid=reference), b"fai")
    client.store(SequenceDict(reference_cid=reference), b"dict")

    fetched = asyncio.run(reference.fetch(client=client))

    assert names_beside(fetched) == ["reference.dict", "reference.fa", "reference.fa.fai"]
    assert fetched.path is not None
    assert fetched.path.read_bytes() == b">chr1\nACGT\n"
    assert fetched.path.with_name("reference.fa.fai").read_bytes() == b"fai"
    assert fetched == reference


def test_a_bgzip_reference_comes_with_its_block_index(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"), gzip.compress(b">chr1\nACGT\n", mtime=0))
    for made in (ReferenceIndex, ReferenceGzipIndex, SequenceDict):
        client.store(made(reference_cid=reference.cid))
    fetched = asyncio.run(fetch(reference, client=client))
    assert names_beside(fetched) == [
        "reference.dict",
        "reference.fa.gz",
        "reference.fa.gz.fai",
        "reference.fa.gz.gzi",
    ]


@pytest.mark.parametrize(
    ("index", "suffix"),
    [(b"BAI\x01", ".bai"), (gzip.compress(b"CSI\x01", mtime=0), ".csi")],
)
def test_an_alignment_comes_with_its_index(client: MemoryClient, index: bytes, suffix: str) -> None:
    alignment = client.store(Alignment(sample="s"), b"bam")
    client.store(AlignmentIndex(alignment_cid=alignment), index)
    fetched = asyncio.run(fetch(alignment, client=client))
    assert names_beside(fetched) == ["alignment.bam", f"alignment.bam{suffix}"]


@pytest.mark.parametrize(
    ("data", "index", "names"),
    [
        (
            gzip.compress(b"##fileformat=VCF", mtime=0),
            gzip.compress(b"TBI\x01", mtime=0),
            ["variants.vcf.gz", "variants.vcf.gz.tbi"],
        ),
        (
            gzip.compress(b"BCF\x02\x02", mtime=0),
            gzip.compress(b"CSI\x01", mtime=0),
            ["variants.bcf", "variants.bcf.csi"],
        ),
        (b"##fileformat=VCF", None, ["variants.vcf"]),
    ],
)
def test_variants_have_the_suffix_of_their_bytes(
    client: MemoryClient, data: bytes, index: bytes | None, names: list[str]
) -> None:
    variants = client.store(Variants(), data)
    if index:
        client.store(VariantsIndex(variants_cid=variants), index)
    assert names_beside(asyncio.run(fetch(variants, client=client))) == names


def test_first_reads_come_with_their_mates(client: MemoryClient) -> None:
    r1 = client.store(R1(sample="s"), gzip.compress(b"@r\n", mtime=0))
    r2 = client.store(R2(sample="s", r1_cid=r1), gzip.compress(b"@r/2\n", mtime=0))
    assert names_beside(asyncio.run(fetch(r1, client=client))) == ["r1.fq.gz", "r1_R2.fq.gz"]
    assert names_beside(asyncio.run(fetch(r2, client=client))) == ["r2_R2.fq.gz"]


def test_what_an_asset_was_derived_from_is_never_fetched(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"), b">")
    alignment = client.store(Alignment(sample="s", reference_cid=reference), b"bam")
    client.store(AlignerIndex(aligner="bwa", reference_cid=reference), b"tar")

    asyncio.run(fetch(reference, client=client))
    asyncio.run(fetch(alignment, client=client))

    assert client.downloads == [reference.cid, alignment.cid]


def test_the_oldest_companion_is_taken(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    oldest = client.store(ReferenceIndex(reference_cid=reference), b"first")
    client.store(ReferenceIndex(reference_cid=reference), b"second")
    assert [one.cid for one in asyncio.run(reference.companions(client=client))] == [oldest.cid]


def test_a_companion_that_is_here_is_taken_before_an_older_one_that_is_not(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    client.store(ReferenceIndex(reference_cid=reference), b"first")
    here = client.store(ReferenceIndex(reference_cid=reference), b"second")
    client.records[-1] = attrs.evolve(client.records[-1], path=client.objects / str(here.cid))
    assert [one.cid for one in asyncio.run(reference.companions(client=client))] == [here.cid]


def test_a_companion_whose_bytes_fail_gives_way_to_the_next(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    damaged = client.store(ReferenceIndex(reference_cid=reference), b"first")
    client.store(ReferenceIndex(reference_cid=reference), b"second")
    client.damage(str(damaged.cid))

    with pytest.warns(UserWarning, match=f"skipping a reference_index .*{damaged.cid}: damaged"):
        fetched = asyncio.run(fetch(reference, client=client))

    assert fetched.path is not None
    assert fetched.path.with_name("reference.fa.fai").read_bytes() == b"second"


def test_a_malformed_companion_never_takes_the_primarys_place(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"), b">chr1\n")
    client.put(b"junk", {"asset": "reference_index", "reference_cid": str(reference.cid), "colour": "red"})

    with pytest.warns(UserWarning, match="colour"):
        fetched = asyncio.run(fetch(reference, client=client))

    assert names_beside(fetched) == ["reference.fa"]
    assert fetched.path is not None
    assert fetched.path.read_bytes() == b">chr1\n"


def test_a_primary_whose_bytes_fail_is_an_error(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    client.damage(str(reference.cid))
    with pytest.raises(IntegrityError, match=str(reference.cid)):
        asyncio.run(fetch(reference, client=client))


def test_what_is_not_stored_cannot_be_fetched(client: MemoryClient) -> None:
    with pytest.raises(AssetNotFoundError, match="this reference has no CID"):
        asyncio.run(fetch(Reference(build="b"), client=client))


def test_fetching_twice_gives_the_same_view(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"))
    client.store(ReferenceIndex(reference_cid=reference))
    with use_client(client):
        first = asyncio.run(reference.fetch())
        second = asyncio.run(first.fetch())
    assert first.path == second.path
    assert names_beside(second) == ["reference.fa", "reference.fa.fai"]


def test_a_view_follows_the_store_when_it_moved(client: MemoryClient, tmp_path: Path) -> None:
    reference = client.store(Reference(build="b"), b">")
    asyncio.run(fetch(reference, client=client))
    client.objects = client.objects.rename(tmp_path / "moved")
    fetched = asyncio.run(fetch(reference, client=client))
    assert fetched.path is not None
    assert fetched.path.read_bytes() == b">"


def test_fetching_into_a_folder_of_ones_own(client: MemoryClient, tmp_path: Path) -> None:
    reference = client.store(Reference(build="b"), b">")
    client.store(ReferenceIndex(reference_cid=reference))
    folder = tmp_path / "my work" / "üñí\n'x'"
    for _ in range(2):
        fetched = asyncio.run(fetch(reference, folder, client=client))
        assert fetched.path == folder / "reference.fa"
        assert names_beside(fetched) == ["reference.fa", "reference.fa.fai"]
    assert not client.views.exists()


def test_a_relative_folder_and_store_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    client = MemoryClient(Path("store"))
    reference = client.store(Reference(build="b"), b">")
    fetched = asyncio.run(fetch(reference, Path("deep/er"), client=client))
    assert fetched.path is not None
    assert fetched.path.read_bytes() == b">"


@pytest.mark.parametrize("mine", ["file", "another reference"])
def test_a_file_of_ones_own_is_never_replaced(client: MemoryClient, tmp_path: Path, mine: str) -> None:
    folder = tmp_path / "mine"
    if mine == "file":
        folder.mkdir()
        (folder / "reference.fa").write_bytes(b"mine")
    else:
        asyncio.run(fetch(client.store(Reference(build="a"), b"mine"), folder, client=client))
    reference = client.store(Reference(build="b"), b">")

    with pytest.raises(StorageError, match=r"reference.fa' is another file: fetch into a folder of its own"):
        asyncio.run(fetch(reference, folder, client=client))

    assert (folder / "reference.fa").read_bytes() == b"mine"


def test_many_fetch_the_same_at_once(client: MemoryClient) -> None:
    reference = client.store(Reference(build="b"), b">")
    client.store(ReferenceIndex(reference_cid=reference), b"fai")

    def together(_: int) -> list[Path | None]:
        async def run() -> list[Asset]:
            return await asyncio.gather(*(fetch(reference, client=client) for _ in range(5)))

        return [fetched.path for fetched in asyncio.run(run())]

    with ThreadPoolExecutor(4) as threads:
        paths = {path for found in threads.map(together, range(8)) for path in found}

    (path,) = paths
    assert path is not None
    assert sorted(one.name for one in path.parent.iterdir()) == ["reference.fa", "reference.fa.fai"]


@pytest.mark.parametrize(
    ("primary", "beside"),
    [
        ("x.fa", "x.dict"),
        ("x.fa.gz", "x.dict"),
        ("x.y.fasta", "x.y.dict"),
        ("GRCh38", "GRCh38.dict"),
    ],
)
def test_a_dictionary_replaces_the_suffix_of_its_reference(primary: str, beside: str) -> None:
    assert SequenceDict(reference_cid="c").path_beside(Path("f") / primary) == Path("f") / beside
