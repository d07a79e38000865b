"""`stargazer run germline_short_variant_discovery` against scripts of the same steps.

    python benchmarks/germline.py [--rounds 5] [--reads 400000] [--bases 2000000] [--folder FOLDER]

First on the tp53 reads (STARGAZER_TEST_DATA) against a bash script of the same wheels' commands, one process each;
then on simulated reads against the classic script (bwa, samtools and bcftools from PATH, -t 2 throughout). A third
figure is the second run of the same, which computes nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from _measure import STARGAZER, Run, alternate, report, run
from stargazer.tasks import bcftools, bwa_index, bwa_mem3, samtools
from stargazer.workflows.demo.simulate import simulate_sample

READ_GROUP = r"@RG\tID:sample.L001\tSM:sample\tLB:sample\tPL:ILLUMINA\tPU:L001"

CALLING = """
$SAMTOOLS markdup --no-PG -f metrics.txt aligned.bam marked.bam
$SAMTOOLS index marked.bam
$SAMTOOLS flagstat -O json marked.bam > flagstat.json
$SAMTOOLS stats -r ref.fa marked.bam > stats.txt
$BCFTOOLS mpileup --no-version $THREADED --indels-2.0 -p --indel-size 80 -h 300 -d 100000 -L 100000 \\
    -f ref.fa -a FORMAT/AD,FORMAT/DP -Ou marked.bam |
  $BCFTOOLS call --no-version $THREADED -m -v -Oz -o calls.vcf.gz
$BCFTOOLS norm --no-version $THREADED -f ref.fa -Oz -o normalised.vcf.gz calls.vcf.gz
$BCFTOOLS filter --no-version $THREADED -s LowQual -e 'QUAL<30' -Oz -o filtered.vcf.gz normalised.vcf.gz
$BCFTOOLS index --tbi filtered.vcf.gz
$BCFTOOLS stats -f .,PASS -s - filtered.vcf.gz > variant_stats.txt
"""

WHEELS = f"""set -e -o pipefail
$SAMTOOLS faidx ref.fa
$SAMTOOLS dict -u ref.fa -o ref.dict ref.fa
$BWA_INDEX ref.fa index
$BWA_MEM3 mem -t 2 -R '{READ_GROUP}' index "$R1" "$R2" | $SAMTOOLS fixmate --no-PG -m -p -u - - |
  $SAMTOOLS sort --no-PG -l 1 -@ 1 -m 512M -o aligned.bam -
{CALLING}"""

CLASSIC = f"""set -e -o pipefail
$SAMTOOLS faidx ref.fa
$SAMTOOLS dict -u ref.fa -o ref.dict ref.fa
bwa index ref.fa 2> /dev/null
bwa mem -t 2 -R '{READ_GROUP}' ref.fa "$R1" "$R2" 2> /dev/null | $SAMTOOLS fixmate -@ 2 --no-PG -m -p -u - - |
  $SAMTOOLS sort -@ 2 --no-PG -o aligned.bam -
{
    CALLING.replace("$SAMTOOLS markdup", "$SAMTOOLS markdup -@ 2")
    .replace("$SAMTOOLS index", "$SAMTOOLS index -@ 2")
    .replace("flagstat -O", "flagstat -@ 2 -O")
    .replace("stats -r", "stats -@ 2 -r")
    .replace(" --indels-2.0", "")
}"""
"""With bcftools 1.16, as Debian has it, which knows no --indels-2.0."""


def wheels() -> dict[str, str]:
    """The commands of the wheels as a script's variables."""
    tools = {"SAMTOOLS": samtools, "BCFTOOLS": bcftools, "BWA_INDEX": bwa_index, "BWA_MEM3": bwa_mem3}
    resolved = {name: tool.resolve({}) for name, tool in tools.items()}
    environment: dict[str, str] = {"THREADED": ""}
    for name, tool in resolved.items():
        environment[name] = " ".join(tool.argv)
        environment |= dict(tool.environment)
    return environment


def compare(title: str, script: str, variables: dict[str, str], reference: Path, reads: list[Path], folder: Path,
            rounds: int) -> None:  # fmt: skip
    """Time the script, the first run and the second run of the same reads."""
    by_hand, home = folder / "by hand", folder / "home"
    environment = {**os.environ, "STARGAZER_MODE": "local", "STARGAZER_HOME": str(home)}
    environment.pop("STARGAZER_LOCAL", None)
    command = [
        STARGAZER,
        "run",
        "germline_short_variant_discovery",
        "samples=sample",
        "build=benchmark",
        "caller=bcftools",
    ]

    def scripted() -> Run:
        shutil.rmtree(by_hand, ignore_errors=True)
        by_hand.mkdir()
        shutil.copyfile(reference, by_hand / "ref.fa")
        given = {**os.environ, **variables, "R1": str(reads[0]), "R2": str(reads[1])}
        return run(["bash", "-c", script], cwd=by_hand, env=given)

    def first() -> Run:
        shutil.rmtree(home, ignore_errors=True)
        run([STARGAZER, "add", str(reference), "asset=reference", "build=benchmark"], env=environment)
        for path, asset in zip(reads, ("r1", "r2"), strict=True):
            run(
                [STARGAZER, "add", str(path), f"asset={asset}", "sample=sample", "lane=L001"], env=environment
            )
        return run(command, env=environment)

    def second() -> Run:
        return run(command, env=environment)

    print(title)
    report(
        alternate({"script": scripted, "stargazer run": first, "stargazer run, again": second}, rounds),
        "script",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=400_000)
    parser.add_argument("--bases", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    data = os.environ.get("STARGAZER_TEST_DATA")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if data:
            tp53 = Path(data) / "tp53"
            reads = [tp53 / "NA12829_TP53_R1.fq.gz", tp53 / "NA12829_TP53_R2.fq.gz"]
            title = "tp53, 16,000 reads, against the same wheels in bash"
            compare(title, WHEELS, wheels(), tp53 / "GRCh38_TP53.fa", reads, folder, options.rounds)
        else:
            print("STARGAZER_TEST_DATA is not set: the tp53 comparison is left out", file=sys.stderr)
        if not options.reads:
            return
        if not all(map(shutil.which, ("bwa", "samtools", "bcftools"))):
            sys.exit("the classic script needs bwa, samtools and bcftools on PATH")
        made = simulate_sample(
            str(folder / "simulated"), options.reads // 2, seed=1, genome_length=options.bases
        )
        lane = made["samples"][0]["lanes"]
        reads = [folder / f"R{mate}.fq.gz" for mate in (1, 2)]
        for path, key in zip(reads, ("r1", "r2"), strict=True):
            with open(path, "wb") as joined:
                for files in lane:
                    joined.write(Path(files[key]).read_bytes())
        classic = {"SAMTOOLS": "samtools", "BCFTOOLS": "bcftools", "THREADED": "--threads 2"}
        title = (
            f"{options.reads:,} simulated reads on {options.bases:,} bases, against bwa, samtools, bcftools"
        )
        compare(title, CLASSIC, classic, Path(made["reference"]), reads, folder, max(3, options.rounds // 2))


if __name__ == "__main__":
    main()
