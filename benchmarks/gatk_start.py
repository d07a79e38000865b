"""GATK as tasks start it, against plain `java` of the same version: short tools, HaplotypeCaller, installation.

Needs the extra `gatk`, curl, and STARGAZER_TEST_DATA (tp53). Figures of one run: medians of rounds that alternate. The
installation is from a mirror on loopback, without the archive of classes, whose making is given by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stargazer.tasks import Maven, Tool, gatk, samtools
from stargazer.tasks.tools import Session, use_session
from stargazer.tasks.tools.jars import Jars

KNOWN = "Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf"
SHORT = {
    "CreateSequenceDictionary": "-R ref.fa -O OUT.dict",
    "SelectVariants": f"-V {KNOWN} -O OUT.vcf",
    "MarkDuplicates": "-I reads.bam -O OUT.bam -M OUT.txt",
    "BaseRecalibrator": f"-R ref.fa -I reads.bam --known-sites {KNOWN} -O OUT.table",
}
WALL, CPU = 0.5, 0.4  # at most, of plain java -jar
LONG = (1.1, 1.0, 0.5)  # wall, CPU, memory of HaplotypeCaller
CURL = 2.0
GRANTED = 4 << 30  # bytes, as gatk_env

SERVE = """
import http.server
class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): ...
http.server.test(Quiet, http.server.ThreadingHTTPServer, port=0, bind="127.0.0.1")
"""

Measured = tuple[float, float, float]
"""Wall and CPU seconds, and the largest resident set in MB."""


def measured(work: Callable[[], float]) -> Measured:
    """What it costs, children included; `work` returns the largest resident set."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    own = time.process_time()
    peak = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + time.process_time() - own
    return time.perf_counter() - began, cpu, peak


def ours(words: list[str], folder: Path) -> float:
    """Run a tool as a task does."""
    session = Session(folder, folder / "log", {"gatk": gatk.resolve({"gatk": "maven"})}, memory=GRANTED)

    async def main() -> None:
        with use_session(session):
            await gatk(*words)

    asyncio.run(main())
    return session.peak_memory / 1e6


def plain(words: list[str], folder: Path, jars: Jars) -> float:
    """Run it with the defaults of Java; the peak is that of /proc, sampled."""
    command = [str(jars.java), "-cp", str(jars.jar), "org.broadinstitute.hellbender.Main", *words]
    with open(folder / "plain.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        peak = 0
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)])
            except OSError:
                pass
            time.sleep(0.05)
    if process.returncode:
        sys.exit((folder / "plain.log").read_text()[-2000:])
    return peak * 1024 / 1e6


def compare(name: str, words: str, folder: Path, jars: Jars, rounds: int, limits: tuple[float, ...]) -> bool:
    """Print the medians of both sides; whether ours are within the limits."""
    sides: dict[str, list[Measured]] = {"ours": [], "plain": []}
    for number in range(rounds):
        for side, results in sides.items():
            given = words.replace("OUT", f"{side}{number}-{name}").split()
            if side == "ours":
                results.append(measured(functools.partial(ours, [name, *given], folder)))
            else:
                results.append(measured(functools.partial(plain, [name, *given], folder, jars)))
    middle = {
        side: [statistics.median(column) for column in zip(*results, strict=True)]
        for side, results in sides.items()
    }
    ratios = [mine / theirs for mine, theirs in zip(middle["ours"], middle["plain"], strict=True)]
    for side, (wall, cpu, peak) in middle.items():
        print(f"{name:26} {side:6} {wall:7.2f} s  CPU {cpu:7.2f} s  {peak:6.0f} MB")
    within = all(ratio <= limit for ratio, limit in zip(ratios, limits, strict=False))
    said = ", ".join(f"{ratio:.2f}x" for ratio in ratios)
    print(
        f"{name:26} ratios {said} (at most {', '.join(map(str, limits))}): {'ok' if within else 'TOO MUCH'}",
        flush=True,
    )
    return within


def simulate(folder: Path, bases: int, coverage: int) -> None:
    """Reads of one sample with a substitution in each thousand bases, aligned where they come from."""
    rng = random.Random(12)
    sequence = "".join(rng.choices("ACGT", k=bases))
    changed = list(sequence)
    for at in range(500, bases, 1000):
        changed[at] = rng.choice([base for base in "ACGT" if base != sequence[at]])
    haplotypes = sequence, "".join(changed)
    lines = [sequence[at : at + 80] for at in range(0, bases, 80)]
    (folder / "long.fa").write_text("\n".join([">chr1", *lines, ""]))
    rows = []
    for number in range(bases * coverage // 300):
        start = rng.randrange(bases - 450)
        source = rng.choice(haplotypes)
        for flag, at, mate in ((99, start, start + 300), (147, start + 300, start)):
            read = list(source[at : at + 150])
            for _ in range(rng.random() < 0.3):
                read[rng.randrange(150)] = rng.choice("ACGT")
            length, bases_read = 450 if flag == 99 else -450, "".join(read)
            fields = ("chr1", at + 1, 60, "150M", "=", mate + 1, length, bases_read, "I" * 150, "RG:Z:L1")
            rows.append((at, "\t".join(map(str, (f"r{number}", flag, *fields)))))
    rows.sort(key=lambda row: row[0])
    with open(folder / "long.sam", "w") as sam:
        sam.write(
            f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:{bases}\n@RG\tID:L1\tSM:S\tLB:lib\tPL:ILLUMINA\n"
        )
        sam.writelines(f"{row}\n" for _, row in rows)


def prepare(folder: Path, data: Path, *commands: list[str]) -> None:
    """Lay out the data, and run commands of samtools on it."""
    for source, name in (
        ("GRCh38_TP53.fa", "ref.fa"),
        ("NA12829_TP53_markdup.bam", "reads.bam"),
        (KNOWN, KNOWN),
    ):
        shutil.copy(data / "tp53" / source, folder / name)
    session = Session(folder, folder / "log", {"samtools": samtools.resolve({})})

    async def main() -> None:
        with use_session(session):
            for words in commands:
                await samtools(*words)

    asyncio.run(main())


def install_first(jars: Jars, folder: Path, rounds: int) -> bool:
    """The jars from a mirror on loopback, against one call of curl for the same files."""
    repository = folder / "maven2"
    for jar in jars.lock.jars:
        path = repository / jar.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(jars.folder / jar.name, path)
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", SERVE], cwd=repository, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port = server.stdout.readline().split(" port ")[1].split()[0]
    url = f"http://127.0.0.1:{port}"
    os.environ["STARGAZER_MAVEN"] = url
    config = folder / "curl"
    times: dict[str, list[float]] = {"ours": [], "curl": []}
    try:
        for number in range(rounds):
            for side, seconds in times.items():
                to = folder / f"{side}{number}"
                os.sync()
                began = time.perf_counter()
                if side == "ours":
                    Jars(jars.name, jars.lock, to, jars.java, jars.jre).install()
                else:
                    to.mkdir()
                    config.write_text(
                        "".join(
                            f'url = "{url}/{jar.path}"\noutput = "{to / jar.name}"\n'
                            for jar in jars.lock.jars
                        )
                    )
                    subprocess.run(["curl", "-sS", "--fail", "-K", config], check=True)
                seconds.append(time.perf_counter() - began)
                shutil.rmtree(to)
    finally:
        server.kill()
        server.wait()
        del os.environ["STARGAZER_MAVEN"]
    mine, theirs = (statistics.median(seconds) for seconds in times.values())
    within = mine <= CURL * theirs
    verdict = "ok" if within else "TOO MUCH"
    print(f"installation {mine:.2f} s, curl {theirs:.2f} s: {mine / theirs:.2f}x (at most {CURL}): {verdict}")
    return within


def main() -> int:
    """Run all and return 1 if something is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--bases", type=int, default=800_000, help="of HaplotypeCaller's contig; 0: leave it out"
    )
    options = parser.parse_args()
    data = Path(os.environ["STARGAZER_TEST_DATA"])
    maven = next(source for source in gatk.sources if isinstance(source, Maven))
    assert isinstance(gatk, Tool)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.setdefault("STARGAZER_HOME", str(folder / "home"))
        jars = maven.jars("gatk")
        if jars is None:
            sys.exit(maven.describe())
        began = time.perf_counter()
        jars.install()
        print(f"GATK is here after {time.perf_counter() - began:.1f} s, its classes archived")
        kept = [install_first(jars, folder, options.rounds)]
        prepare(folder, data, ["faidx", "ref.fa"], ["index", "reads.bam"])
        ours(["CreateSequenceDictionary", "-R", "ref.fa"], folder)
        ours(["IndexFeatureFile", "-I", KNOWN], folder)
        for tool, words in SHORT.items():
            kept.append(compare(tool, words, folder, jars, options.rounds, (WALL, CPU)))
        if options.bases:
            simulate(folder, options.bases, 50)
            prepare(
                folder,
                data,
                ["view", "-b", "-o", "long.bam", "long.sam"],
                ["index", "long.bam"],
                ["faidx", "long.fa"],
            )
            ours(["CreateSequenceDictionary", "-R", "long.fa"], folder)
            words = "-R long.fa -I long.bam -O OUT.vcf.gz"
            kept.append(compare("HaplotypeCaller", words, folder, jars, min(options.rounds, 3), LONG))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
