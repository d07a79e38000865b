"""The whole of caller=gatk on the tp53 reads against the same commands in bash, and HaplotypeCaller alone at 50x.

    python benchmarks/germline_gatk.py [--rounds 3] [--bases 800000] [--folder FOLDER]

`stargazer run germline_short_variant_discovery` on the tp53 reads (STARGAZER_TEST_DATA), with known sites, against a
bash script of the same steps: the same wheels' bwa-mem3, samtools and bcftools, and GATK as anybody runs it, Java
without options. A further figure is the second run of the same, which computes nothing. Then one HaplotypeCaller, as
the task runs it and with plain Java, on simulated reads at 50x. GATK is installed before: benchmarks/gatk_start.py
measures that. Exit status 1 above a limit.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sys
import tempfile
from operator import eq
from pathlib import Path

from _gatk import installed, lend, plain
from _measure import STARGAZER, Run, alternate, middle_of, report, run
from germline import READ_GROUP, wheels
from stargazer.tasks.germline.genotypes import PLAIN
from stargazer.tasks.tools import gatk
from stargazer.workflows.best_practices import HARD_FILTERS
from stargazer.workflows.demo.reads import READ_LENGTH
from stargazer.workflows.demo.simulate import simulate_sample

WHOLE, AGAIN = 0.45, 2.0  # limits: wall time against the script; seconds of the second run
HAPLOTYPES = {"wall": 1.1, "processor": 1.0, "memory": 0.5}
DEPTH = 50
AS_THE_TASK = ("--native-pair-hmm-threads", "1", *PLAIN)
MEMORY = 4 << 30
"""What the tasks of gatk_env hold."""

REGIONS = r"""awk '{print $1 "\t0\t" $2}' ref.fa.fai > regions.bed"""

PIPELINE = f"""set -e -o pipefail
$SAMTOOLS faidx ref.fa
$SAMTOOLS dict -u ref.fa -o ref.dict ref.fa
{REGIONS}
$BWA_INDEX ref.fa index
$BCFTOOLS view --no-version -Oz -o known.vcf.gz "$KNOWN"
$GATK IndexFeatureFile -I known.vcf.gz
$BWA_MEM3 mem -t 2 -Y -R '{READ_GROUP}' index "$R1" "$R2" | $SAMTOOLS fixmate --no-PG -m -p -u - - |
  $SAMTOOLS sort --no-PG -l 1 -@ 1 -m 512M -o aligned.bam -
$GATK MarkDuplicates -I aligned.bam -O marked.bam -M metrics.txt --CREATE_INDEX true
$GATK BaseRecalibrator -R ref.fa -I marked.bam --known-sites known.vcf.gz -O recalibration.table
$GATK ApplyBQSR -R ref.fa -I marked.bam --bqsr-recal-file recalibration.table -O recalibrated.bam
$SAMTOOLS flagstat -O json recalibrated.bam > flagstat.json
$SAMTOOLS stats -r ref.fa recalibrated.bam > stats.txt
$SAMTOOLS stats -d -c 1,1000000,1 recalibrated.bam > coverage.txt
$GATK HaplotypeCaller -R ref.fa -I recalibrated.bam -L regions.bed -ERC GVCF -O sample.g.vcf.gz
$GATK GenotypeGVCFs -R ref.fa -V sample.g.vcf.gz -L regions.bed -O calls.vcf.gz
$GATK LeftAlignAndTrimVariants -R ref.fa -V calls.vcf.gz -O normalised.vcf.gz
$GATK VariantFiltration -V normalised.vcf.gz -O filtered.vcf.gz {
    " ".join(f"--filter-name {name} --filter-expression '{when}'" for name, when in HARD_FILTERS.items())
}
$BCFTOOLS stats -f .,PASS -s - filtered.vcf.gz > variant_stats.txt
"""

ALIGN = f"""set -e -o pipefail
$SAMTOOLS faidx ref.fa
$SAMTOOLS dict -u ref.fa -o ref.dict ref.fa
{REGIONS}
$BWA_INDEX ref.fa index
for lane in "$@"; do
  lanes=$((lanes + 1))
  $BWA_MEM3 mem -t 2 -Y -R '{READ_GROUP}' index $lane | $SAMTOOLS sort --no-PG -l 1 -o lane$lanes.bam -
done
$SAMTOOLS merge --no-PG -o aligned.bam lane*.bam
$SAMTOOLS index aligned.bam
"""


def whole(folder: Path, rounds: int) -> list[str]:
    """Time the script, the first run and the second run on the tp53 reads; what is above a limit."""
    data = Path(os.environ["STARGAZER_TEST_DATA"]) / "tp53"
    reference, known = (
        data / "GRCh38_TP53.fa",
        data / "Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf",
    )
    reads = [data / f"NA12829_TP53_R{mate}.fq.gz" for mate in (1, 2)]
    by_hand, home = folder / "by hand", folder / "home"
    environment = {**os.environ, "STARGAZER_MODE": "local", "STARGAZER_HOME": str(home)}
    environment.pop("STARGAZER_LOCAL", None)
    out = folder / "out"
    command = [STARGAZER, "run", "germline_short_variant_discovery", "samples=sample", "build=benchmark",
               "caller=gatk", "--outdir", str(out)]  # fmt: skip

    def scripted() -> Run:
        shutil.rmtree(by_hand, ignore_errors=True)
        by_hand.mkdir()
        shutil.copyfile(reference, by_hand / "ref.fa")
        given = {
            **os.environ,
            **wheels(),
            **plain(),
            "R1": str(reads[0]),
            "R2": str(reads[1]),
            "KNOWN": str(known),
        }
        return run(["bash", "-c", PIPELINE], cwd=by_hand, env=given)

    def first() -> Run:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
        home.mkdir()
        lend(home)
        for path, said in (
            (reference, ["asset=reference"]),
            (known, ["asset=known_sites", "name=known"]),
        ):
            run([STARGAZER, "add", str(path), *said, "build=benchmark"], env=environment)
        for path, asset in zip(reads, ("r1", "r2"), strict=True):
            run(
                [STARGAZER, "add", str(path), f"asset={asset}", "sample=sample", "lane=L001"], env=environment
            )
        return run(command, env=environment)

    def second() -> Run:
        shutil.rmtree(out)
        return run(command, env=environment)

    print("tp53, 16,000 reads, against the same commands in bash with plain Java")
    results = alternate({"script": scripted, "stargazer run": first, "stargazer run, again": second}, rounds)
    report(results, "script")
    ours, theirs = records(next(out.glob("*variants.vcf.gz"))), records(by_hand / "filtered.vcf.gz")
    print(f"records: {len(ours)}, of the script {len(theirs)}, equal {sum(map(eq, ours, theirs))}")
    middle = {side: middle_of(runs) for side, runs in results.items()}
    ratio = middle["stargazer run"].seconds / middle["script"].seconds
    again = middle["stargazer run, again"].seconds
    failures = []
    if ratio > WHOLE:
        failures.append(f"the run takes {ratio:.2f}x of the script, at most {WHOLE}x expected")
    if again > AGAIN:
        failures.append(f"the second run takes {again:.2f} s, at most {AGAIN} s expected")
    if ours != theirs:
        failures.append("the calls are not those of the script")
    return failures


def records(path: Path) -> list[str]:
    """The records of a bgzip VCF."""
    with gzip.open(path, "rt") as file:
        return [line for line in file if not line.startswith("#")]


def haplotypes(folder: Path, bases: int, rounds: int) -> list[str]:
    """Time HaplotypeCaller as a task runs it and with plain Java; what is above a limit."""
    made = simulate_sample(str(folder / "simulated"), bases * DEPTH // (2 * READ_LENGTH), 1, bases)
    lanes = [f"{lane['r1']} {lane['r2']}" for lane in made["samples"][0]["lanes"]]
    at = folder / "haplotypes"
    at.mkdir()
    shutil.copyfile(made["reference"], at / "ref.fa")
    run(["bash", "-c", ALIGN, "align", *lanes], cwd=at, env={**os.environ, **wheels()})
    arguments = ["HaplotypeCaller", "-R", "ref.fa", "-I", "aligned.bam", "-L", "regions.bed", "-ERC", "GVCF"]
    common = {**os.environ, "TMPDIR": str(at)}

    def plainly() -> Run:
        command = [*plain()["GATK"].split(), *arguments, "-O", "plain.g.vcf.gz"]
        return run(command, cwd=at, env=common)

    def ours() -> Run:
        command = [*gatk.resolve({gatk.name: "maven"}).argv, *arguments, "-O", "ours.g.vcf.gz", *AS_THE_TASK]
        return run(command, cwd=at, env={**common, "STARGAZER_TASK_MEMORY": str(MEMORY)})

    print(f"HaplotypeCaller on {bases:,} bases at {DEPTH}x")
    results = alternate({"plain Java": plainly, "as the task runs it": ours}, rounds)
    report(results, "plain Java")
    base, middle = middle_of(results["plain Java"]), middle_of(results["as the task runs it"])
    failures = []
    for what, figure, of in (
        ("wall", middle.seconds, base.seconds),
        ("processor", middle.processor, base.processor),
        ("memory", middle.peak, base.peak),
    ):
        if figure > HAPLOTYPES[what] * of:
            failures.append(
                f"HaplotypeCaller, {what}: {figure / of:.2f}x, at most {HAPLOTYPES[what]}x expected"
            )
    if records(at / "ours.g.vcf.gz") != records(at / "plain.g.vcf.gz"):
        failures.append("HaplotypeCaller gives other records")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bases", type=int, default=800_000, help="for HaplotypeCaller alone; 0: leave it out"
    )
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    installed()
    failures = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if os.environ.get("STARGAZER_TEST_DATA"):
            failures += whole(folder, options.rounds)
        else:
            print("STARGAZER_TEST_DATA is not set: the tp53 comparison is left out", file=sys.stderr)
        if options.bases:
            failures += haplotypes(folder, options.bases, options.rounds)
    print("; ".join(failures) or "every limit is met")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
