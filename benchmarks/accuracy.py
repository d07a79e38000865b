"""Recall, precision and genotypes of both callers on a simulated cohort, beside bcftools by hand.

    python benchmarks/accuracy.py [--callers gatk,bcftools] [--seed 1] [--bases 1500000] [--gatk-by-hand]
                                  [--by-hand=OPTIONS] [--folder FOLDER]

Exit status 1 below a limit. Four samples (30x, 30x, 15x, 3x; reads of 150 bases, 6 % of them duplicates) with private
and shared SNVs, indels of 1 to 60 bases, and stretches that a sample lacks on both copies; a reference with runs of N,
repeats in lower case and a chrM of which there is one copy. `stargazer run germline_short_variant_discovery` calls them
jointly from the reads, with each caller. By hand the same wheel's bcftools calls the same alignments with its default
options (or those given) apart from a higher depth and the ploidy of chrM, and QUAL < 30 is filtered; with
--gatk-by-hand, plain commands of bwa (of PATH) and GATK do all of it from the reads. Alleles are compared after
normalisation, and where they differ, the sequences that they give; and that where short reads can be judged: not within
250 bases of a contig's end, a run of N or a duplication, in tandem repeats beyond 30 bases, or within a read of the end
of a stretch that the sample lacks. Every SNV that is missed at 30x is listed with the reason, also elsewhere.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysam
from _gatk import lend, plain
from _haplotypes import respelled
from _measure import STARGAZER, run
from germline import wheels
from stargazer.workflows.demo.alleles import Allele
from stargazer.workflows.demo.cohort import MITOCHONDRION, Cohort, simulate_cohort
from stargazer.workflows.demo.files import Observation, Regions, observations, opened
from stargazer.workflows.demo.genome import EDGE, confident_intervals
from stargazer.workflows.demo.reads import READ_LENGTH

DEPTHS = {"deep1": 30.0, "deep2": 30.0, "medium": 15.0, "shallow": 3.0}
DEEP = [sample for sample, depth in DEPTHS.items() if depth >= 30]
GROUPS = {"30x": DEEP, **{f"{depth:.0f}x": [name] for name, depth in DEPTHS.items() if name not in DEEP}}
KINDS = ("SNV", "ins 1-5", "ins 6-20", "ins 21-60", "del 1-5", "del 6-20", "del 21-60")
GATK, BCFTOOLS = "gatk", "bcftools"
BY_HAND = {GATK: "GATK by hand", BCFTOOLS: "bcftools by hand"}
"""What a caller is compared with."""
CALLERS = (GATK, BCFTOOLS)
GATK_RECALL, GATK_PRECISION, GATK_GENOTYPES = 0.95, 0.995, 0.995
"""At 30x: of every kind of alleles; of all that is called; of all that is found."""
RECALL, PRECISION = 0.999, 0.994
"""Of bcftools: of SNVs at 30x; see below_bcftools."""
FEW, UNSURE = 8, 10
"""Reads of a place below which a call of both alleles is luck; MAPQ below which a read tells little."""

Deletions = Mapping[str, Sequence[tuple[str, int, int]]]
"""Of each sample: contig, start counted from 0, end excluded."""

BLURRED = {
    "gap": f"within {EDGE} bases of a run of N",
    "duplication": f"within {EDGE} bases of a duplication, whose reads fit its copy as well",
    "tandem": "in or beside a tandem repeat",
}

BCFTOOLS_BY_HAND = """set -e -o pipefail
$SAMTOOLS faidx reference.fa
printf '%s 1 2000000000 M 1\\n%s 1 2000000000 F 1\\n' "$HAPLOID" "$HAPLOID" > ploidy.txt
$BCFTOOLS mpileup --no-version $OPTIONS -d 100000 -L 100000 -f reference.fa -a FORMAT/AD,FORMAT/DP -Ou "$@" |
  $BCFTOOLS call --no-version --ploidy-file ploidy.txt -m -v -Ou |
  $BCFTOOLS norm --no-version -f reference.fa -Ou |
  $BCFTOOLS filter --no-version -s LowQual -e 'QUAL<30' -Oz -o by_hand.vcf.gz
"""

GATK_BY_HAND = """set -e -o pipefail
mkdir by_hand; cd by_hand; cp ../reference.fa .
$SAMTOOLS faidx reference.fa
$GATK CreateSequenceDictionary -R reference.fa
bwa index reference.fa
cut -f 1 reference.fa.fai | grep -vx "$HAPLOID" > diploid.list
for sample in "$@"; do
  bwa mem -t 2 -Y -K 100000000 -R "@RG\\tID:$sample\\tSM:$sample\\tLB:$sample\\tPL:ILLUMINA" reference.fa \\
    ../${sample}_R1.fastq.gz ../${sample}_R2.fastq.gz | $SAMTOOLS sort -o $sample.bam -
  $GATK MarkDuplicates -I $sample.bam -O $sample.marked.bam -M $sample.txt --CREATE_INDEX true
  $GATK HaplotypeCaller -R reference.fa -I $sample.marked.bam -L diploid.list -ERC GVCF -O $sample.2.g.vcf.gz
  $GATK HaplotypeCaller -R reference.fa -I $sample.marked.bam -L "$HAPLOID" --sample-ploidy 1 -ERC GVCF \\
    -O $sample.1.g.vcf.gz
  $GATK MergeVcfs -I $sample.2.g.vcf.gz -I $sample.1.g.vcf.gz -O $sample.g.vcf.gz
done
$GATK CombineGVCFs -R reference.fa $(printf -- '-V %s.g.vcf.gz ' "$@") -O combined.g.vcf.gz
$GATK GenotypeGVCFs -R reference.fa -V combined.g.vcf.gz -O calls.vcf.gz
$GATK SelectVariants -V calls.vcf.gz --select-type-to-include SNP -O snvs.vcf.gz
$GATK SelectVariants -V calls.vcf.gz --select-type-to-exclude SNP -O others.vcf.gz
$GATK VariantFiltration -V snvs.vcf.gz -O snvs.filtered.vcf.gz \\
  --filter-name QD2 --filter-expression 'QD < 2.0' --filter-name QUAL30 --filter-expression 'QUAL < 30.0' \\
  --filter-name SOR3 --filter-expression 'SOR > 3.0' --filter-name FS60 --filter-expression 'FS > 60.0' \\
  --filter-name MQ40 --filter-expression 'MQ < 40.0' \\
  --filter-name MQRankSum --filter-expression 'MQRankSum < -12.5' \\
  --filter-name ReadPosRankSum --filter-expression 'ReadPosRankSum < -8.0'
$GATK VariantFiltration -V others.vcf.gz -O others.filtered.vcf.gz \\
  --filter-name QD2 --filter-expression 'QD < 2.0' --filter-name QUAL30 --filter-expression 'QUAL < 30.0' \\
  --filter-name FS200 --filter-expression 'FS > 200.0' \\
  --filter-name ReadPosRankSum --filter-expression 'ReadPosRankSum < -20.0'
$GATK MergeVcfs -I snvs.filtered.vcf.gz -I others.filtered.vcf.gz -O by_hand.vcf.gz
"""
"""The same steps and hard filters as the manuals and articles of GATK give them, without an option of ours."""


@dataclass(frozen=True)
class Compared:
    """True alleles with their copies by sample, and those that each side calls, by side and sample."""

    truth: Mapping[str, Mapping[Allele, int]]
    calls: Mapping[str, Mapping[str, Mapping[Allele, Observation]]]

    def within(self, regions: Regions, deletions: Deletions) -> Compared:
        """Only what lies in these regions, and away from the ends of what a sample lacks."""

        def chosen(sample: str, alleles: Mapping[Allele, Any]) -> dict[Allele, Any]:
            return {
                allele: value
                for allele, value in alleles.items()
                if regions.hold(allele[0], allele[1] - 1, allele[1] - 1 + len(allele[2]))
                and not at_an_end(allele, deletions[sample])
            }

        return Compared(
            {sample: chosen(sample, alleles) for sample, alleles in self.truth.items()},
            {
                side: {sample: chosen(sample, alleles) for sample, alleles in calls.items()}
                for side, calls in self.calls.items()
            },
        )

    def there(self, samples: list[str], which: str) -> int:
        """How many alleles of a kind there are, in each sample that has them."""
        return sum(kind(allele) == which for sample in samples for allele in self.truth[sample])

    def recall(self, side: str, samples: list[str], which: str) -> float:
        """Share of them that a side finds in that sample."""
        return _share(
            allele in self.calls[side][sample]
            for sample in samples
            for allele in self.truth[sample]
            if kind(allele) == which
        )

    def precision(self, side: str, samples: list[str], snvs: bool = True, indels: bool = True) -> float:
        """Share of the alleles called in these samples that the same sample has."""
        return _share(
            allele in self.truth[sample]
            for sample in samples
            for allele in self.calls[side][sample]
            if (snvs if kind(allele) == "SNV" else indels)
        )

    def site_precision(self, side: str) -> float:
        """Share of the alleles called, each counted once, that any sample has."""
        true = {allele for alleles in self.truth.values() for allele in alleles}
        return _share(a in true for a in {a for alleles in self.calls[side].values() for a in alleles})

    def concordance(self, side: str, samples: list[str]) -> float:
        """Share of the alleles found whose number of copies is right."""
        return _share(
            copies == self.calls[side][sample][allele].copies
            for sample in samples
            for allele, copies in self.truth[sample].items()
            if allele in self.calls[side][sample]
        )


def _share(outcomes: Iterable[bool]) -> float:
    counted = Counter(outcomes)
    return counted[True] / counted.total()


def at_an_end(allele: Allele, deletions: Sequence[tuple[str, int, int]]) -> bool:
    """Whether an allele is as near to an end of what is missing as the reads that are clipped there."""
    contig, position, ref, _ = allele
    return any(
        contig == name and position - READ_LENGTH <= end and end <= position + len(ref) + READ_LENGTH
        for name, *ends in deletions
        for end in ends
    )


def kind(allele: Allele) -> str:
    """SNV, or insertion or deletion with its class of sizes."""
    change = len(allele[3]) - len(allele[2])
    if not change:
        return "SNV"
    sizes = next(
        (sizes for most, sizes in ((5, "1-5"), (20, "6-20"), (60, "21-60")) if abs(change) <= most), "longer"
    )
    return f"{'ins' if change > 0 else 'del'} {sizes}"


class Lab:
    """A store of its own with what was simulated."""

    def __init__(self, cohort: Cohort, folder: Path):
        self.cohort, self.folder = cohort, folder
        home = folder / "home"
        home.mkdir()
        self.environment = {**os.environ, "STARGAZER_MODE": "local", "STARGAZER_HOME": str(home)}
        self.environment.pop("STARGAZER_LOCAL", None)
        run([STARGAZER, "add", str(cohort.reference), "build=cohort"], env=self.environment)
        for sample, reads in cohort.reads.items():
            run([STARGAZER, "add", *map(str, reads), f"sample={sample}"], env=self.environment)

    def call(self, caller: str) -> tuple[Path, dict[str, Path]]:
        """Run the workflow: its calls, and alignments by sample."""
        if caller == GATK:
            lend(self.folder / "home")
        out = self.folder / caller
        run([STARGAZER, "run", "germline_short_variant_discovery", f"samples={','.join(self.cohort.reads)}",
             "build=cohort", f"caller={caller}", f"ploidy={MITOCHONDRION}:1", "--outdir", str(out)],
            env=self.environment)  # fmt: skip
        (calls,) = (path for path in out.glob("*.vcf.gz") if not path.name.endswith(".g.vcf.gz"))
        alignments = {}
        for path in out.glob("*.bam"):
            with pysam.AlignmentFile(str(path)) as alignment:
                alignments[alignment.header["RG"][0]["SM"]] = path
        return calls, alignments


def call_by_hand(cohort: Cohort, alignments: Mapping[str, Path], mpileup: str) -> Path:
    """bcftools with these options of mpileup, a higher depth, and the ploidy of chrM."""
    folder = cohort.reference.parent
    paths = [str(alignments[sample]) for sample in cohort.reads]
    environment = {**os.environ, **wheels(), "HAPLOID": MITOCHONDRION, "OPTIONS": mpileup}
    run(["bash", "-c", BCFTOOLS_BY_HAND, "by hand", *paths], cwd=folder, env=environment)
    return folder / "by_hand.vcf.gz"


def call_by_hand_with_gatk(cohort: Cohort) -> Path:
    """bwa and GATK, from the reads."""
    folder = cohort.reference.parent
    environment = {**os.environ, **wheels(), **plain(), "HAPLOID": MITOCHONDRION}
    run(["bash", "-c", GATK_BY_HAND, "by hand", *cohort.reads], cwd=folder, env=environment)
    return folder / "by_hand" / "by_hand.vcf.gz"


def report_table(compared: Compared) -> None:
    """Print recall, precision and genotypes of every side as one table, by depth."""
    print(f"\neach cell: {' / '.join(compared.calls)}; in brackets the alleles there are\n")
    print("| |", " | ".join(GROUPS), "|")
    print("|---|", "---|" * len(GROUPS), sep="")

    def row(title: str, figure: Callable[[str, list[str]], float]) -> None:
        cells = [
            " / ".join(f"{figure(side, samples):.3f}" for side in compared.calls)
            for samples in GROUPS.values()
        ]
        print("|", " | ".join([title, *cells]), "|")

    for which in KINDS:
        there = ", ".join(str(compared.there(samples, which)) for samples in GROUPS.values())
        row(f"recall, {which} ({there})", functools.partial(compared.recall, which=which))
    row("precision, SNVs", lambda side, samples: compared.precision(side, samples, indels=False))
    row("precision, indels", lambda side, samples: compared.precision(side, samples, snvs=False))
    row("precision", compared.precision)
    row("right number of copies, of the alleles found", compared.concordance)
    for side in compared.calls:
        print(f"{side}, all samples: precision of SNVs {compared.precision(side, list(DEPTHS), indels=False):.4f}, "
              f"of alleles each counted once {compared.site_precision(side):.4f}")  # fmt: skip


def report_edges(everywhere: Compared, deletions: Deletions) -> None:
    """Print the false alleles at the ends of what a sample lacks, which are not judged."""
    counts = {
        side: sum(
            allele not in everywhere.truth[sample] and at_an_end(allele, deletions[sample])
            for sample, alleles in calls.items()
            for allele in alleles
        )
        for side, calls in everywhere.calls.items()
    }
    lacked = sum(map(len, deletions.values()))
    print(f"false alleles at the ends of {lacked} stretches of 300 to 1,500 bases that a sample lacks, not judged: "
          + ", ".join(f"{side} {count}" for side, count in counts.items()))  # fmt: skip


def below_gatk(compared: Compared) -> Iterator[str]:
    """What calls of GATK miss of the limits at 30x."""
    for which in KINDS:
        if (recall := compared.recall(GATK, DEEP, which)) < GATK_RECALL:
            yield f"gatk: recall of {which} {recall:.4f}, at least {GATK_RECALL} expected"
    if (precision := compared.precision(GATK, DEEP)) < GATK_PRECISION:
        yield f"gatk: precision {precision:.4f}, at least {GATK_PRECISION} expected"
    if (genotypes := compared.concordance(GATK, DEEP)) < GATK_GENOTYPES:
        yield f"gatk: right genotypes {genotypes:.4f}, at least {GATK_GENOTYPES} expected"


def below_bcftools(compared: Compared) -> Iterator[str]:
    """What calls of bcftools miss of the limits, and where bcftools by hand finds more."""
    for sample in DEPTHS:
        for which in KINDS:
            recall, by_hand = (
                compared.recall(side, [sample], which) for side in (BCFTOOLS, BY_HAND[BCFTOOLS])
            )
            if which == "SNV" and sample in DEEP and recall < RECALL:
                yield f"bcftools, {sample}: recall of SNVs {recall:.4f}, at least {RECALL} expected"
            if which != "SNV" and recall < by_hand:
                yield f"bcftools, {sample}: recall of {which} {recall:.4f}, and by hand {by_hand:.4f}"
    for title, precision in (
        ("30x", compared.precision(BCFTOOLS, DEEP)),
        ("SNVs of all samples", compared.precision(BCFTOOLS, list(DEPTHS), indels=False)),
        ("alleles each counted once", compared.site_precision(BCFTOOLS)),
    ):
        if precision < PRECISION:
            yield f"bcftools: precision, {title}: {precision:.4f}, at least {PRECISION} expected"


def report_form(side: str, vcf: Path) -> Iterator[str]:
    """Print how many alleles genotypes on chrM have, and in what letters alleles are; give what is wrong."""
    ploidies: Counter[int] = Counter()
    small = 0
    with opened(str(vcf)) as variants:
        for record in variants:
            small += not all(allele.isupper() for allele in record.alleles if allele != "*")
            if record.contig == MITOCHONDRION:
                ploidies.update(len(record.samples[sample]["GT"]) for sample in record.samples)
    print(f"\n{side}: genotypes of one allele on {MITOCHONDRION}: {ploidies[1]} of {ploidies.total()}; "
          f"records with alleles in lower case: {small}")  # fmt: skip
    if set(ploidies) != {1}:
        yield f"{side}: genotypes on {MITOCHONDRION} have {sorted(ploidies)} alleles, one expected"
    if small:
        yield f"{side}: {small} records have alleles in lower case"


def report_missed(
    side: str,
    cohort: Cohort,
    compared: Compared,
    everywhere: Compared,
    vcf: Path,
    alignments: Mapping[str, Path],
) -> Iterator[str]:
    """Print every SNV that is missed at 30x with its reasons; give those without."""
    print(f"{side}: SNVs missed at 30x, where judged and elsewhere")
    written = _records(vcf)
    for sample in DEEP:
        with pysam.AlignmentFile(str(alignments[sample])) as reads:
            for allele in everywhere.truth[sample]:
                if kind(allele) != "SNV" or allele in everywhere.calls[side][sample]:
                    continue
                reasons = [*_surroundings(allele, sample, cohort, everywhere), *_evidence(allele, reads)]
                if record := written.get(allele[:2]):
                    reasons.append(f"called: {', '.join(record.filter)}, QUAL {record.qual:.0f}, "
                                   f"{'/'.join(map(str, record.samples[sample]['GT']))}")  # fmt: skip
                place = f"{sample} {allele[0]}:{allele[1]} {allele[2]}>{allele[3]}"
                where = "" if allele in compared.truth[sample] else " (not judged)"
                print(f"{place}{where}: {'; '.join(reasons) or 'no reason found'}")
                if not reasons:
                    yield f"{side}, {place}: missed without a reason"


def _records(vcf: Path) -> dict[tuple[str, int], Any]:
    """The records with an SNV, filtered ones too, by place."""
    with opened(str(vcf)) as variants:
        return {
            (record.contig, record.pos): record.copy()
            for record in variants
            if any(len(alt) == len(record.ref) for alt in record.alts or ())
        }


def _surroundings(allele: Allele, sample: str, cohort: Cohort, everywhere: Compared) -> Iterator[str]:
    """What the genome has near a place that reads cannot get across."""
    name, position = allele[:2]
    contig = next(contig for contig in cohort.contigs if contig.name == name)
    if not EDGE < position <= len(contig.codes) - EDGE:
        yield f"within {EDGE} bases of the contig's end"
    for feature in contig.features:
        margin = EDGE if feature.kind in ("gap", "duplication") else READ_LENGTH // 10
        if feature.kind in BLURRED and feature.start - margin < position <= feature.end + margin:
            yield BLURRED[feature.kind]
    for other, start, ref, alt in everywhere.truth[sample]:
        if other == name and len(ref) != len(alt) and start - 15 <= position <= start + len(ref) + 15:
            yield f"beside an indel of {len(alt) - len(ref):+} bases"


def _evidence(allele: Allele, reads: Any) -> Iterator[str]:
    """What is wrong with the reads of a place."""
    name, position, _, alt = allele
    bases, unsure = [], 0
    for read in reads.fetch(name, position - 1, position):
        at = {place: number for number, place in read.get_aligned_pairs(matches_only=True)}
        if not (read.is_duplicate or read.is_secondary or read.is_supplementary) and position - 1 in at:
            bases.append(read.query_sequence[at[position - 1]])
            unsure += read.mapping_quality < UNSURE
    if len(bases) < FEW:
        yield f"{len(bases)} reads"
    elif bases.count(alt) < FEW / 2:
        yield f"{bases.count(alt)} of {len(bases)} reads have it"
    if unsure > len(bases) / 4:
        yield f"MAPQ below {UNSURE} in {unsure} of {len(bases)} reads"


def measure(
    folder: Path, callers: list[str], seed: int, length: int, mpileup: str = "", gatk_by_hand: bool = False
) -> int:
    """Simulate, call in all ways, compare and print; give the exit status."""
    began = time.monotonic()
    cohort = simulate_cohort(folder, DEPTHS, length, seed)
    lab = Lab(cohort, folder)
    called = {caller: lab.call(caller) for caller in callers}
    paths = {caller: calls for caller, (calls, _) in called.items()}
    if BCFTOOLS in callers:
        paths[BY_HAND[BCFTOOLS]] = call_by_hand(cohort, called[BCFTOOLS][1], mpileup)
    if gatk_by_hand:
        paths[BY_HAND[GATK]] = call_by_hand_with_gatk(cohort)
    sequences = {contig.name: contig.sequence() for contig in cohort.contigs}

    whole = Regions((name, 0, len(sequence)) for name, sequence in sequences.items())
    seen: dict[str, dict[str, dict[Allele, Observation]]] = {}
    for side, path in paths.items():
        found = observations(str(path), list(DEPTHS), whole, sequences)
        seen[side] = {
            sample: respelled(cohort, sequences, number, found[sample])
            for number, sample in enumerate(DEPTHS)
        }
    everywhere = Compared(cohort.truth(), seen)
    judged = Regions((c.name, start, end) for c in cohort.contigs for start, end in confident_intervals(c))
    print(f"seed {seed}, {whole.size:,} bases, {judged.size / whole.size:.1%} of them judged")
    compared = everywhere.within(judged, cohort.deletions)
    report_table(compared)
    report_edges(everywhere, cohort.deletions)
    failures = [
        *(below_gatk(compared) if GATK in callers else ()),
        *(below_bcftools(compared) if BCFTOOLS in callers else ()),
    ]
    for caller, (vcf, alignments) in called.items():
        failures += report_form(caller, vcf)
        failures += report_missed(caller, cohort, compared, everywhere, vcf, alignments)
    print(f"\n{time.monotonic() - began:.0f} s;", "; ".join(failures) or "every limit is met")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--callers", default=",".join(CALLERS), help="one of them, or both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bases", type=int, default=1_500_000)
    parser.add_argument("--gatk-by-hand", action="store_true")
    parser.add_argument(
        "--by-hand", default="", metavar="OPTIONS", help="of mpileup, as one word: '-X illumina'"
    )
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    callers = options.callers.split(",")
    if not set(callers) <= set(CALLERS):
        parser.error(f"--callers: expected {' or '.join(CALLERS)}, or both with a comma")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return measure(
            Path(folder), callers, options.seed, options.bases, options.by_hand, options.gatk_by_hand
        )


if __name__ == "__main__":
    sys.exit(main())
