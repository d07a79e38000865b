"""Time the aligner engine against Debian's bwa, alone and up to a sorted BAM, on simulated reads.

    python benchmarks/align.py [--reads 400000] [--bases 2000000] [--rounds 3] [--folder FOLDER]

Needs bwa and samtools on PATH (the yardstick) and stargazer-tasks installed. Rounds alternate between the two
sides, so that a busy machine slows down both; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import gzip
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ENGINES = Path(__file__).parents[1] / "packages/stargazer-tasks/src/stargazer/tasks/tools/engines"
READ_GROUP = r"@RG\tID:lane1\tSM:simulated\tPL:ILLUMINA"
READ_LENGTH = 150
BASES = np.frombuffer(b"ACGT", np.uint8)


def simulate_genome(bases: int, rng: np.random.Generator) -> np.ndarray:
    """Return base codes with diverged repeats over about a fifth of the genome."""
    genome = rng.integers(0, 4, bases, dtype=np.uint8)
    for _ in range(bases // 8000):
        length = int(rng.integers(100, 3000))
        source, target = rng.integers(0, bases - length, 2)
        copy = genome[source : source + length].copy()
        changed = rng.random(length) < 0.05
        copy[changed] = rng.integers(0, 4, int(changed.sum()))
        genome[target : target + length] = copy
    return genome


def simulate_pairs(genome: np.ndarray, pairs: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return both reads of each pair as base codes: 150 bases, inserts of 400 +- 60, 0.5 % errors."""
    inserts = np.clip(rng.normal(400, 60, pairs).astype(int), READ_LENGTH, 800)
    starts = rng.integers(0, len(genome) - 800, pairs)
    along = np.arange(READ_LENGTH)
    reads = [genome[starts[:, None] + along], 3 - genome[(starts + inserts - 1)[:, None] - along]]
    for read in reads:
        wrong = rng.random(read.shape) < 0.005
        read[wrong] = rng.integers(0, 4, int(wrong.sum()))
    other_strand = rng.random(pairs) < 0.5
    return [np.where(other_strand[:, None], reads[1 - end], reads[end]) for end in (0, 1)]


def write_fastq(path: Path, reads: np.ndarray, rng: np.random.Generator) -> None:
    """Write gzip FASTQ with qualities that compress about as well as real ones."""
    qualities = np.where(rng.random(reads.shape) < 0.1, rng.integers(35, 70, reads.shape), 70).astype(
        np.uint8
    )
    with gzip.open(path, "wb", compresslevel=4) as file:
        for number, (read, quality) in enumerate(zip(BASES[reads], qualities, strict=True)):
            file.write(b"@simulated:%d\n%s\n+\n%s\n" % (number, read.tobytes(), quality.tobytes()))


def simulate(folder: Path, bases: int, reads: int) -> None:
    """Write x.fa, r1.fq.gz and r2.fq.gz, the same for the same numbers."""
    rng = np.random.default_rng(1)
    genome = simulate_genome(bases, rng)
    letters = BASES[genome].tobytes()
    lines = b"\n".join(letters[start : start + 60] for start in range(0, bases, 60))
    (folder / "x.fa").write_bytes(b">chr1\n" + lines + b"\n")
    for end, sequences in enumerate(simulate_pairs(genome, reads // 2, rng), 1):
        write_fastq(folder / f"r{end}.fq.gz", sequences, rng)


def seconds(command: str, folder: Path) -> float:
    """Return the wall time of a shell pipeline, all of whose stages must succeed."""
    start = time.perf_counter()
    subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, check=True, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def compare(name: str, ours: str, theirs: str, folder: Path, rounds: int) -> None:
    """Run both sides in turn and print the medians and their ratio."""
    times = [(seconds(ours, folder), seconds(theirs, folder)) for _ in range(rounds)]
    mine, yardstick = (statistics.median(side) for side in zip(*times, strict=True))
    print(f"{name:<28} {mine:7.2f} s {yardstick:7.2f} s   ratio {mine / yardstick:.2f}", flush=True)


def peak_memory(command: str, folder: Path) -> int:
    """Return the largest resident set of one program, in MB (measured by a small process: forks inherit)."""
    watch = (
        "import resource, subprocess, sys; quiet = subprocess.DEVNULL;"
        "subprocess.run(sys.argv[1:], check=True, stdout=quiet, stderr=quiet);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-I", "-c", watch, *shlex.split(command)]
    largest = int(subprocess.run(words, cwd=folder, check=True, capture_output=True).stdout)
    return largest >> (20 if sys.platform == "darwin" else 10)


def engine(script: str, *arguments: str) -> str:
    """Return the shell words that start an engine."""
    return shlex.join([sys.executable, "-I", str(ENGINES / script), *arguments])


def main() -> None:
    """Simulate, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=400_000)
    parser.add_argument("--bases", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the simulated data here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        simulate(folder, options.bases, options.reads)
        report(folder, options.rounds)


def report(folder: Path, rounds: int) -> None:
    """Print one line per comparison."""
    index_ours, index_bwa = engine("bwa_index.py", "x.fa", "ours"), "bwa index -p bwa x.fa"
    ours = engine("bwa_mem3.py", "mem", "-t", "2", "-R", READ_GROUP, "ours", "r1.fq.gz", "r2.fq.gz")
    bwa = shlex.join(["bwa", "mem", "-t", "2", "-R", READ_GROUP, "bwa", "r1.fq.gz", "r2.fq.gz"])
    hts = engine("hts.py", "samtools")
    ours_sorted = f"{ours} | {hts} fixmate -m -p -u - - | {hts} sort -l 1 -o ours.bam -"
    bwa_sorted = f"{bwa} | samtools fixmate -m -u - - | samtools sort -@ 2 -o bwa.bam -"
    compared: list[tuple[str, str, str]] = [
        ("index", index_ours, index_bwa),
        ("mem -t 2", f"{ours} > ours.raw", f"{bwa} > bwa.raw"),
        ("mem -t 2 | fixmate | sort", ours_sorted, bwa_sorted),
    ]
    print(f"{'':<28} {'engine':>9} {'Debian':>9}   medians of {rounds}")
    for name, mine, theirs in compared:
        compare(name, mine, theirs, folder, rounds)
    for name, mine, theirs in ("index", index_ours, index_bwa), ("mem -t 2", ours, bwa):
        print(
            f"peak memory of {name:<13} {peak_memory(mine, folder):6} MB {peak_memory(theirs, folder):6} MB"
        )


if __name__ == "__main__":
    main()
