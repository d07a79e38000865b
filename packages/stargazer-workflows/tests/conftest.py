"""A laboratory of its own for each test: a store, what is registered in it, and what running a workflow did."""

from __future__ import annotations

import asyncio
import gzip
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import R1, R2, Asset, Reference, use_client
from stargazer.storage import Addition, LocalStorageClient
from stargazer.tasks.execution import Event, observe
from stargazer.tasks.tools import Tool

MADE_BY_US = "execution"


class Lab:
    """A store, and how often each task was computed or recalled in the latest run."""

    def __init__(self, root: Path):
        self.client = LocalStorageClient(root)
        self.events: list[Event] = []

    def add(self, path: Path, asset: Asset, *, force: bool = False) -> Any:
        """Register a file; return its asset."""
        return Asset.from_record(self.client.store.add([Addition(path, asset, force=force)])[0])

    def add_lane(self, reads: tuple[Path, Path], **fields: Any) -> tuple[R1, R2]:
        """Register two files as the reads of one lane."""
        return self.add(reads[0], R1(**fields)), self.add(reads[1], R2(**fields))

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of a workflow, a task or a query."""
        self.events = []

        async def main() -> Any:
            return await function(*args, **kwargs)

        with use_client(self.client), observe(self.events.append):
            return asyncio.run(main())

    def computed(self) -> Counter[str]:
        return self._count("finished")

    def recalled(self) -> Counter[str]:
        return self._count("memo hit")

    def _count(self, kind: str) -> Counter[str]:
        return Counter(event.task.partition(".")[2] for event in self.events if event.kind == kind)

    def path(self, asset: Asset) -> Path:
        """The stored bytes of an asset."""
        return self.client.store.read(asset.cid or "")

    def made(self) -> list[Asset]:
        """What is in the store beside what was registered by hand."""
        executions = {
            record.cid for record in self.client.store.query({"asset": "provenance", "kind": MADE_BY_US})
        }
        return [
            Asset.from_record(record)
            for record in self.client.store.query({})
            if record.keyvalues.get("provenance_cid") in executions
        ]

    def leftovers(self) -> list[str]:
        """Workspaces that nobody cleaned up."""
        work = self.client.store.objects.work
        return [path.name for path in work.iterdir()] if work.exists() else []


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A laboratory with an empty store."""
    return Lab(tmp_path / "store")


@pytest.fixture(scope="session")
def new_lab() -> type[Lab]:
    """For laboratories that several tests share."""
    return Lab


def by_hand(tool: Tool, *args: Any, stdin: bytes = b"") -> bytes:
    """What a tool of ours prints when it is run without us."""
    found = tool.resolve({})
    done = subprocess.run(
        [*found.argv, *map(str, args)], input=stdin, capture_output=True, env=dict(found.environment)
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="session")
def run_by_hand() -> Callable[..., bytes]:
    return by_hand


def vcf_lines(path: Path) -> list[str]:
    """The records of a VCF, plain or compressed, as they are written."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="session")
def records_of() -> Callable[[Path], list[str]]:
    return vcf_lines


def alleles(lines: Iterable[str], least: float = 0) -> dict[tuple[str, int, str, str], str]:
    """Called alleles, trimmed to what differs, with `hom` or `het` where there is a genotype."""
    found = {}
    for line in lines:
        contig, position, _, ref, alts, quality, status, _, *samples = line.split("\t")
        if status not in ("PASS", ".") or (quality != "." and float(quality) < least):
            continue
        called = samples[1].split(":")[0].replace("|", "/").split("/")
        for number, alt in enumerate(alts.upper().split(","), 1):
            if str(number) in called and not alt.startswith(("<", "*")):
                key = _trimmed(contig, int(position), ref.upper(), alt)
                found[key] = "hom" if len(set(called)) == 1 else "het"
    return found


def _trimmed(contig: str, position: int, ref: str, alt: str) -> tuple[str, int, str, str]:
    while len(ref) > 1 and len(alt) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        ref, alt, position = ref[1:], alt[1:], position + 1
    return contig, position, ref, alt


@pytest.fixture(scope="session")
def alleles_of() -> Callable[..., dict[tuple[str, int, str, str], str]]:
    return alleles


class Genome:
    """Two small contigs with names that break region syntax, and reads of samples that differ from them."""

    names = ("chr1:1-99", "HLA-A*01:01")

    def __init__(self) -> None:
        draw = random.Random(20_261_123)
        self.contigs = {name: "".join(draw.choices("ACGT", k=3000)) for name in self.names}

    def write_reference(self, path: Path) -> Path:
        """The contigs as FASTA."""
        path.write_text("".join(f">{name}\n{bases}\n" for name, bases in self.contigs.items()))
        return path

    def write_reads(
        self, folder: Path, stem: str = "reads", seed: int = 1, pairs: int = 300, variant: bool = True
    ) -> tuple[Path, Path]:
        """Read pairs without errors; with a homozygous SNV in the middle of each contig if `variant`."""
        draw = random.Random(seed)
        ends: tuple[list[str], list[str]] = ([], [])
        for number in range(pairs):
            bases = self.contigs[self.names[number % 2]]
            if variant:
                bases = bases[:1500] + CHANGED[bases[1500]] + bases[1501:]
            start, length = draw.randrange(len(bases) - 400), draw.randrange(250, 400)
            fragment = bases[start : start + length]
            for lines, read in zip(
                ends, (fragment[:100], fragment.translate(COMPLEMENT)[::-1][:100]), strict=True
            ):
                lines.append(f"@{stem}:{number}\n{read}\n+\n{'I' * 100}\n")
        paths = folder / f"{stem}_R1.fq.gz", folder / f"{stem}_R2.fq.gz"
        for path, lines in zip(paths, ends, strict=True):
            path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
        return paths


CHANGED = dict(zip("ACGT", "CGTA", strict=True))
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="session")
def genome() -> Genome:
    return Genome()


@pytest.fixture
def small_lab(lab: Lab, genome: Genome, tmp_path: Path) -> Lab:
    """A laboratory with the small genome as reference `small`."""
    lab.add(genome.write_reference(tmp_path / "small.fa"), Reference(build="small"))
    return lab
