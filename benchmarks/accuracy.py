"""Recall and precision of germline calls on a simulated cohort, beside bcftools by hand; exit status 1 below a limit.

    python benchmarks/accuracy.py [--seed 1] [--bases 1500000] [--by-hand=OPTIONS] [--folder FOLDER]

Four samples (30x, 30x, 15x, 3x, 6 % of the reads duplicates) with private and shared SNVs, indels of 1 to 60 bases, and
stretches that a sample lacks on both copies; a reference with runs of N, repeats in lower case and a chrM of which
there is one copy. `stargazer run germline_short_variant_discovery` calls them jointly from the reads; by hand the same
wheel's bcftools calls the same alignments with its default options (or those given) apart from a higher depth and the
ploidy of chrM. On both sides QUAL < 30 is filtered. Alleles are compared after normalisation, where short reads can be
judged: not within 250 bases of a contig's end, a run of N or a duplication, nor in tandem repeats beyond 30 bases.
Every SNV that is missed at 30x is listed with the reason, also elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysam
from _measure import STARGAZER, run
from germline import wheels
from stargazer.workflows.demo.alleles import Allele
from stargazer.workflows.demo.cohort import MITOCHONDRION, Cohort, simulate_cohort
from stargazer.workflows.demo.files import Observation, Regions, observations, opened
from stargazer.workflows.demo.genome import EDGE, confident_intervals
from stargazer.workflows.demo.reads import READ_LENGTH

DEPTHS = {"deep1": 30.0, "deep2": 30.0, "medium": 15.0, "shallow": 3.0}
DEEP = [sample for sample, depth in DEPTHS.items() if depth >= 30]
KINDS = ("SNV", "ins 1-5", "ins 6-20", "ins 21-60", "del 1-5", "del 6-20", "del 21-60")
RECALL, PRECISION = 0.999, 0.994
FEW, UNSURE = 8, 10
"""Reads of a place below which a call of both alleles is luck; MAPQ below which a read tells little."""

BLURRED = {
    "gap": f"within {EDGE} bases of a run of N",
    "duplication": f"within {EDGE} bases of a duplication, whose reads fit its copy as well",
    "tandem": "in or beside a tandem repeat",
}

BY_HAND = """set -e -o pipefail
$SAMTOOLS faidx reference.fa
printf '%s 1 2000000000 M 1\\n%s 1 2000000000 F 1\\n' "$HAPLOID" "$HAPLOID" > ploidy.txt
$BCFTOOLS mpileup --no-version $OPTIONS -d 100000 -L 100000 -f reference.fa -a FORMAT/AD,FORMAT/DP -Ou "$@" |
  $BCFTOOLS call --no-version --ploidy-file ploidy.txt -m -v -Ou |
  $BCFTOOLS norm --no-version -f reference.fa -Ou |
  $BCFTOOLS filter --no-version -s LowQual -e 'QUAL<30' -Oz -o by_hand.vcf.gz
"""


@dataclass(frozen=True)
class Compared:
    """True alleles with their copies, and those that Stargazer and bcftools by hand call, by sample."""

    truth: Mapping[str, Mapping[Allele, int]]
    ours: Mapping[str, Mapping[Allele, Observation]]
    by_hand: Mapping[str, Mapping[Allele, Observation]]

    def found(self, sample: str, which: str) -> tuple[int, int, int]:
        """How many of a sample's alleles of a kind Stargazer finds, bcftools by hand finds, and there are."""
        true = [allele for allele in self.truth[sample] if kind(allele) == which]
        ours, by_hand = (
            sum(allele in calls[sample] for allele in true) for calls in (self.ours, self.by_hand)
        )
        return ours, by_hand, len(true)

    def precision(self, samples: list[str], snvs: bool, indels: bool) -> tuple[float, float]:
        """Shares of the alleles called in these samples that the same sample has, of both sides."""
        return self._both(
            lambda calls: [
                allele in self.truth[sample]
                for sample in samples
                for allele in calls[sample]
                if (snvs if kind(allele) == "SNV" else indels)
            ]
        )

    def site_precision(self) -> tuple[float, float]:
        """Shares of the alleles called, each counted once, that any sample has, of both sides."""
        true = {allele for alleles in self.truth.values() for allele in alleles}
        return self._both(
            lambda calls: [allele in true for allele in {a for alleles in calls.values() for a in alleles}]
        )

    def concordance(self, sample: str) -> tuple[float, float]:
        """Shares of a sample's alleles found whose number of copies is right, of both sides."""
        return self._both(
            lambda calls: [
                copies == calls[sample][allele].copies
                for allele, copies in self.truth[sample].items()
                if allele in calls[sample]
            ]
        )

    def _both(self, outcomes: Callable[[Any], list[bool]]) -> tuple[float, float]:
        ours, by_hand = (outcomes(calls) for calls in (self.ours, self.by_hand))
        return sum(ours) / len(ours), sum(by_hand) / len(by_hand)


def kind(allele: Allele) -> str:
    """SNV, or insertion or deletion with its class of sizes."""
    change = len(allele[3]) - len(allele[2])
    if not change:
        return "SNV"
    sizes = next(
        (sizes for most, sizes in ((5, "1-5"), (20, "6-20"), (60, "21-60")) if abs(change) <= most), "longer"
    )
    return f"{'ins' if change > 0 else 'del'} {sizes}"


def call_with_stargazer(cohort: Cohort, folder: Path) -> tuple[Path, dict[str, Path]]:
    """Register what was simulated in a store of its own and run the workflow: its calls, and alignments by sample."""
    environment = {**os.environ, "STARGAZER_MODE": "local", "STARGAZER_HOME": str(folder / "home")}
    environment.pop("STARGAZER_LOCAL", None)
    run([STARGAZER, "add", str(cohort.reference), "build=cohort"], env=environment)
    for sample, reads in cohort.reads.items():
        run([STARGAZER, "add", *map(str, reads), f"sample={sample}"], env=environment)
    out = folder / "out"
    run([STARGAZER, "run", "germline_short_variant_discovery", f"samples={','.join(cohort.reads)}", "build=cohort",
         "caller=bcftools", f"ploidy={MITOCHONDRION}:1", "--outdir", str(out)], env=environment)  # fmt: skip
    (calls,) = out.glob("*.vcf.gz")
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
    run(["bash", "-c", BY_HAND, "by hand", *paths], cwd=folder, env=environment)
    return folder / "by_hand.vcf.gz"


def report_recall(compared: Compared) -> Iterator[str]:
    """Print recall by sample and kind; give what is below a limit."""
    print("\nrecall: stargazer / by hand (alleles)")
    print(f"{'':8}", *(f"{which:>22}" for which in KINDS))
    for sample in DEPTHS:
        cells = []
        for which in KINDS:
            ours, by_hand, true = compared.found(sample, which)
            cells.append(f"{ours / true:.4f} / {by_hand / true:.4f} ({true:4})")
            if which == "SNV" and sample in DEEP and ours < RECALL * true:
                yield f"{sample}: recall of SNVs {ours / true:.4f}, at least {RECALL} expected"
            if which != "SNV" and ours < by_hand:
                yield f"{sample}: {ours} of {true} {which}, and bcftools by hand finds {by_hand}"
        print(f"{sample:8}", *cells)


def report_precision(compared: Compared) -> Iterator[str]:
    """Print precision and how often the number of copies is right; give what is below a limit."""
    print("\nprecision: stargazer / by hand")
    for title, samples in (*((sample, [sample]) for sample in DEPTHS), ("30x", DEEP), ("all", list(DEPTHS))):
        cells = []
        for name, snvs, indels in (("SNVs", True, False), ("indels", False, True), ("both", True, True)):
            ours, by_hand = compared.precision(samples, snvs, indels)
            cells.append(f"{name} {ours:.4f} / {by_hand:.4f}")
            if (title, name) in (("30x", "both"), ("all", "SNVs")) and ours < PRECISION:
                yield f"precision of {name}, {title}: {ours:.4f}, at least {PRECISION} expected"
        print(f"{title:8}", *cells, sep="  ")
    ours, by_hand = compared.site_precision()
    print(f"each allele once, whoever has it: {ours:.4f} / {by_hand:.4f}")
    if ours < PRECISION:
        yield f"precision of alleles counted once {ours:.4f}, at least {PRECISION} expected"
    shares = (f"{sample} %.4f / %.4f" % compared.concordance(sample) for sample in DEPTHS)
    print(f"\nright number of copies, of the alleles found: {', '.join(shares)}")


def report_form(vcf: Path) -> Iterator[str]:
    """Print how many alleles genotypes on chrM have, and in what letters alleles are; give what is wrong."""
    ploidies: Counter[int] = Counter()
    small = 0
    with opened(str(vcf)) as variants:
        for record in variants:
            small += not all(allele.isupper() for allele in record.alleles if allele != "*")
            if record.contig == MITOCHONDRION:
                ploidies.update(len(record.samples[sample]["GT"]) for sample in record.samples)
    print(f"genotypes of one allele on {MITOCHONDRION}: {ploidies[1]} of {ploidies.total()}; "
          f"records with alleles in lower case: {small}")  # fmt: skip
    if set(ploidies) != {1}:
        yield f"genotypes on {MITOCHONDRION} have {sorted(ploidies)} alleles, one expected"
    if small:
        yield f"{small} records have alleles in lower case"


def report_missed(
    cohort: Cohort, compared: Compared, everywhere: Compared, vcf: Path, alignments: Mapping[str, Path]
) -> Iterator[str]:
    """Print every SNV that is missed at 30x with its reasons; give those without."""
    print("\nSNVs missed at 30x, where judged and elsewhere")
    written = _records(vcf)
    for sample in DEEP:
        with pysam.AlignmentFile(str(alignments[sample])) as reads:
            for allele in everywhere.truth[sample]:
                if kind(allele) != "SNV" or allele in everywhere.ours[sample]:
                    continue
                reasons = [*_surroundings(allele, sample, cohort, everywhere), *_evidence(allele, reads)]
                if record := written.get(allele[:2]):
                    reasons.append(f"called: {', '.join(record.filter)}, QUAL {record.qual:.0f}, "
                                   f"{'/'.join(map(str, record.samples[sample]['GT']))}")  # fmt: skip
                place = f"{sample} {allele[0]}:{allele[1]} {allele[2]}>{allele[3]}"
                where = "" if allele in compared.truth[sample] else " (not judged)"
                print(f"{place}{where}: {'; '.join(reasons) or 'no reason found'}")
                if not reasons:
                    yield f"{place}: missed without a reason"


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


def measure(folder: Path, seed: int, length: int, mpileup: str = "") -> int:
    """Simulate, call both ways, compare and print; give the exit status."""
    began = time.monotonic()
    cohort = simulate_cohort(folder, DEPTHS, length, seed)
    vcf, alignments = call_with_stargazer(cohort, folder)
    by_hand = call_by_hand(cohort, alignments, mpileup)
    sequences = {contig.name: contig.sequence() for contig in cohort.contigs}

    def compare(regions: Regions) -> Compared:
        truth = {
            sample: {a: n for a, n in alleles.items() if regions.hold(a[0], a[1] - 1, a[1] - 1 + len(a[2]))}
            for sample, alleles in cohort.truth().items()
        }
        ours, theirs = (observations(str(path), list(DEPTHS), regions, sequences) for path in (vcf, by_hand))
        return Compared(truth, ours, theirs)

    judged = Regions((c.name, start, end) for c in cohort.contigs for start, end in confident_intervals(c))
    everywhere = Regions((name, 0, len(sequence)) for name, sequence in sequences.items())
    print(f"seed {seed}, {everywhere.size:,} bases, {judged.size / everywhere.size:.1%} of them judged")
    compared = compare(judged)
    failures = [
        *report_recall(compared),
        *report_precision(compared),
        *report_form(vcf),
        *report_missed(cohort, compared, compare(everywhere), vcf, alignments),
    ]
    print(f"\n{time.monotonic() - began:.0f} s;", "; ".join(failures) or "every limit is met")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bases", type=int, default=1_500_000)
    parser.add_argument(
        "--by-hand", default="", metavar="OPTIONS", help="of mpileup, as one word: '-X illumina'"
    )
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return measure(Path(folder), options.seed, options.bases, options.by_hand)


if __name__ == "__main__":
    sys.exit(main())
