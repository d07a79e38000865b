"""Make the lock of a Maven tool anew, and the list of the classes that make it start fast.

    python .ci/lock_maven.py lock LOCK [COORDINATES]
    python .ci/lock_maven.py classes LOCK --data FOLDER

LOCK is a file of packages/stargazer-tasks/src/stargazer/tasks/tools/locks. `lock` asks Maven (`mvn` on PATH) for the
runtime dependencies of the first jar in it, or of COORDINATES, in the order of the class path. The comments at its head
say which dependencies Maven is not to follow (`exclude:`), and which jars are left out (`drop:`) unless they are
wanted (`keep:`); they are patterns of group:artifact. `classes` runs the commands of TOOLS on the data of the tests
with GATK as it is installed, and notes which classes they load. A newer version of GATK: `lock` with its coordinates,
then `classes`, then the versions in tools/_gatk.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>stargazer</groupId><artifactId>lock</artifactId><version>1</version>
<dependencies><dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version>
<exclusions>{exclusions}</exclusions></dependency></dependencies></project>
"""
LIST = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:list"  # older ones list in no order
EXCLUSION = "<exclusion><groupId>{}</groupId><artifactId>{}</artifactId></exclusion>"
LISTED = re.compile(
    r"(?P<group>[\w.-]+):(?P<artifact>[\w.-]+):jar:(?:(?P<classifier>[\w.-]+):)?(?P<version>[\w.-]+):(?:compile|runtime):(?P<path>/.*\.jar)"
)

TOOLS = """
gatk CreateSequenceDictionary -R ref.fa -O ref.dict
gatk IndexFeatureFile -I known.vcf
gatk FastqToSam -F1 r1.fq.gz -F2 r2.fq.gz -O unmapped.bam -SM S -RG L1 -LB lib -PL ILLUMINA
gatk SortSam -I reads.bam -O queryname.bam -SO queryname
gatk RevertSam -I reads.bam -O reverted.bam
gatk MergeBamAlignment -UNMAPPED reverted.bam -ALIGNED queryname.bam -O merged.bam -R ref.fa
gatk AddOrReplaceReadGroups -I reads.bam -O grouped.bam -ID L1 -LB lib -PL ILLUMINA -PU unit -SM S
gatk MarkDuplicates -I reads.bam -O marked.bam -M metrics.txt --CREATE_INDEX true
gatk SetNmMdAndUqTags -I marked.bam -O tagged.bam -R ref.fa
gatk BaseRecalibrator -R ref.fa -I marked.bam --known-sites known.vcf -O bqsr.table
gatk GatherBQSRReports -I bqsr.table -I bqsr.table -O gathered.table
gatk ApplyBQSR -R ref.fa -I marked.bam --bqsr-recal-file bqsr.table -O recalibrated.bam
gatk AnalyzeCovariates -bqsr bqsr.table -csv covariates.csv
gatk SplitIntervals -R ref.fa --scatter-count 2 -O split
gatk BedToIntervalList -I targets.bed -O targets.interval_list -SD ref.dict
gatk IntervalListTools -I targets.interval_list -O scattered --SCATTER_COUNT 2
gatk HaplotypeCaller -R ref.fa -I recalibrated.bam -O calls.vcf.gz -L targets.bed
gatk HaplotypeCaller -R ref.fa -I recalibrated.bam -O calls.g.vcf.gz -ERC GVCF -L targets.bed
gatk HaplotypeCaller -R ref.fa -I recalibrated.bam -O haploid.vcf.gz --sample-ploidy 1 -bamout bamout.bam -L targets.bed
gatk ReblockGVCF -R ref.fa -V calls.g.vcf.gz -O reblocked.g.vcf.gz -do-qual-approx
gatk CombineGVCFs -R ref.fa -V calls.g.vcf.gz -O combined.g.vcf.gz
gatk GenomicsDBImport -V calls.g.vcf.gz --genomicsdb-workspace-path database -L targets.bed
gatk GenotypeGVCFs -R ref.fa -V gendb://database -O from_database.vcf.gz
gatk GenotypeGVCFs -R ref.fa -V combined.g.vcf.gz -O joint.vcf.gz
gatk MergeVcfs -I joint.vcf.gz -O merged.vcf.gz
gatk GatherVcfs -I joint.vcf.gz -O gathered.vcf.gz
gatk SortVcf -I joint.vcf.gz -O sorted.vcf.gz
gatk SelectVariants -R ref.fa -V joint.vcf.gz -O snps.vcf.gz --select-type-to-include SNP
gatk VariantFiltration -R ref.fa -V snps.vcf.gz -O filtered.vcf.gz --filter-expression 'QD < 2.0' --filter-name QD2
gatk LeftAlignAndTrimVariants -R ref.fa -V joint.vcf.gz -O left.vcf.gz --split-multi-allelics
gatk CollectVariantCallingMetrics -I joint.vcf.gz --DBSNP known.vcf -O calling_metrics -SD ref.dict
gatk ValidateSamFile -I marked.bam -R ref.fa --MODE SUMMARY --IGNORE MISSING_TAG_NM
gatk ValidateVariants -R ref.fa -V joint.vcf.gz
gatk CollectAlignmentSummaryMetrics -I marked.bam -R ref.fa -O alignment_metrics.txt
gatk CollectWgsMetrics -I marked.bam -R ref.fa -O wgs_metrics.txt
gatk CollectQualityYieldMetrics -I marked.bam -O yield.txt
gatk Mutect2 -R ref.fa -I recalibrated.bam -O somatic.vcf.gz --f1r2-tar-gz f1r2.tar.gz -L targets.bed
gatk LearnReadOrientationModel -I f1r2.tar.gz -O orientation.tar.gz
gatk FilterMutectCalls -R ref.fa -V somatic.vcf.gz -O somatic_filtered.vcf.gz --ob-priors orientation.tar.gz
gatk VariantsToTable -V joint.vcf.gz -F POS -GF GT -O table.tsv
gatk VariantEval -R ref.fa --eval joint.vcf.gz -O evaluation.txt
gatk CountReads -I marked.bam
picard CollectInsertSizeMetrics -I marked.bam -O insert.txt -H insert.pdf
picard MarkDuplicates -I reads.bam -O marked_by_picard.bam -M metrics_by_picard.txt
"""
"""What is run for the list of classes, a command in each line."""


def patterns(head: list[str], word: str) -> list[str]:
    """The patterns that a word stands before in the comments of a lock."""
    return [pattern for line in head if line.startswith(f"# {word}: ") for pattern in line.split()[2:]]


def make_lock(path: Path, coordinates: str | None) -> int:
    """Write a lock anew; tell what changed."""
    before = path.read_text().splitlines()
    head, rows = (
        [line for line in before if line.startswith("#")],
        [line for line in before if line and line[0] != "#"],
    )
    coordinates = coordinates or rows[0].split()[0]
    exclusions = "".join(EXCLUSION.format(*pattern.split(":")) for pattern in patterns(head, "exclude"))
    with tempfile.TemporaryDirectory() as folder:
        pom, listed = Path(folder, "pom.xml"), Path(folder, "listed")
        pom.write_text(POM.format(*coordinates.split(":"), exclusions=exclusions))
        options = [
            "-DincludeScope=runtime",
            "-DoutputAbsoluteArtifactFilename=true",
            f"-DoutputFile={listed}",
        ]
        subprocess.run(["mvn", "-q", "-B", "-f", pom, LIST, *options], check=True)
        found = [match for line in listed.read_text().splitlines() if (match := LISTED.search(line))]
    keep, drop = patterns(head, "keep"), patterns(head, "drop")
    lines, size, everything = [], 0, 0
    for match in found:
        jar, name = Path(match["path"]), f"{match['group']}:{match['artifact']}"
        everything += jar.stat().st_size
        if any(fnmatchcase(name, each) for each in drop) and not any(
            fnmatchcase(name, each) for each in keep
        ):
            continue
        size += jar.stat().st_size
        full = ":".join(filter(None, (name, match["version"], match["classifier"])))
        lines.append(f"{full} {hashlib.sha256(jar.read_bytes()).hexdigest()} {jar.stat().st_size}")
    title = (
        f"# {coordinates} with its runtime dependencies, in the order of Maven's class path: {len(lines)} jars, "
        f"{size / 1e6:.1f} MB (of {len(found)} jars, {everything / 1e6:.1f} MB)"
    )
    path.write_text("\n".join([title, *head[1:], *lines, ""]))
    for sign, changed in (
        ("-", [row for row in rows if row not in lines]),
        ("+", [row for row in lines if row not in rows]),
    ):
        for row in changed:
            print(sign, row)
    print(f"{path.name}: {len(lines)} jars, {'the same order' if rows == lines else 'changed'}")
    return 0


def list_classes(path: Path, data: Path) -> int:
    """Write the list of classes that belongs to a lock; the exit status is 1 if a tool failed."""
    from stargazer.tasks import gatk, picard

    mains = {}
    for tool in (gatk, picard):
        resolved = tool.resolve({tool.name: "maven"})
        resolved.install(lambda *_: None)
        mains[tool.name] = resolved.argv[-4:]
    names: set[str] = set()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(data, work)
        for number, line in enumerate(TOOLS.strip().splitlines()):
            tool, *words = shlex.split(line)
            java, _, jar, main = mains[tool]
            listed = work / f"classes-{number}"
            command = [
                java,
                "-Xshare:off",
                "-XX:+UseSerialGC",
                f"-XX:DumpLoadedClassList={listed}",
                "-cp",
                jar,
                main,
            ]
            done = subprocess.run([*command, *words], cwd=work, capture_output=True, text=True)
            names |= {row for row in listed.read_text().splitlines() if row and not row.startswith("#")}
            print(f"{done.returncode} {len(names):6} {line[:100]}", flush=True)
            if (
                done.returncode and "CollectInsertSizeMetrics" not in line
            ):  # needs R, and has loaded its classes by then
                failed += 1
                print("\n".join(done.stderr.splitlines()[-20:]))
        strays = [name for name in names if folder in name or str(Path.home()) in name]
    if strays:
        sys.exit(f"a path of this machine is among the classes: {strays[0]}")
    text = "".join(f"{name}\n" for name in sorted(names))
    target = path.with_suffix(".classes.gz")
    target.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{target.name}: {len(names):,} lines, {target.stat().st_size:,} bytes; {failed} tools failed")
    return 1 if failed else 0


def prepare(data: Path, work: Path) -> None:
    """Lay out what the tools are run on: reads, reference and known sites around TP53."""
    tp53 = data / "tp53"
    for source, name in (
        ("GRCh38_TP53.fa", "ref.fa"),
        ("Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf", "known.vcf"),
        ("NA12829_TP53_R1.fq.gz", "r1.fq.gz"),
        ("NA12829_TP53_R2.fq.gz", "r2.fq.gz"),
        ("NA12829_TP53_markdup.bam", "reads.bam"),
    ):
        shutil.copy(tp53 / source, work / name)
    contig = (work / "ref.fa").read_text().partition("\n")[0][1:].split()[0]
    (work / "targets.bed").write_text(f"{contig}\t0\t20000\n")
    (work / "split").mkdir()
    (work / "scattered").mkdir()
    for words in (["faidx", "ref.fa"], ["index", "reads.bam"]):
        subprocess.run(["samtools", *words], cwd=work, check=True)


def main() -> int:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["lock", "classes"])
    parser.add_argument("lock", type=Path, metavar="LOCK")
    parser.add_argument("coordinates", nargs="?", metavar="COORDINATES", help="group:artifact:version")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("STARGAZER_TEST_DATA"), help="the data of the tests"
    )
    options = parser.parse_args()
    if options.what == "lock":
        return make_lock(options.lock, options.coordinates)
    if options.data is None:
        parser.error("say where the data of the tests is: --data, or STARGAZER_TEST_DATA")
    return list_classes(options.lock, Path(options.data))


if __name__ == "__main__":
    sys.exit(main())
