"""Tasks for alignments made elsewhere: they get the contigs of the reference, and are split to mark duplicates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from stargazer.assets import Alignment, InvalidAssetError, QcReport, Reference, SequenceDict
from stargazer.tasks.checks.contigs import compare
from stargazer.tasks.checks.headers import is_cram, sam_contigs, sam_header
from stargazer.tasks.environments import htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.germline.alignment import group_id
from stargazer.tasks.germline.headers import check_header, conformed_header
from stargazer.tasks.tools import expect, samtools

__all__ = ["CheckedAlignment", "check_alignment", "split_libraries"]

DUPLICATE = "0x400"
"""The flag of a duplicate."""

WITHOUT_MATE = 'flag.paired && !flag.unmap && rnext=="*"'
"""Mapped reads of pairs whose mate is not in the file, as `samtools fixmate` leaves them: not properly paired."""


class CheckedAlignment(NamedTuple):
    """An alignment from elsewhere that fits a reference.

    `duplicates_marked` also where its header alone says so; `report` tells what was changed, and what is missing.
    """

    alignment: Alignment
    duplicates_marked: bool
    report: QcReport


@htslib_env.task(tools=[samtools])
async def check_alignment(
    alignment: Alignment,
    reference: Reference,
    dictionary: SequenceDict,
    aligned_to: SequenceDict | None = None,
) -> CheckedAlignment:
    """See that an alignment from elsewhere belongs to a reference and a sample; give it the contigs of the reference.

    Callers number contigs by the header, and take those of the first file for those of all: so the contigs of every
    alignment have to be those of the reference, in its order. Where they differ in order alone, or in contigs without
    reads, the header and the records are rewritten. Read groups that name no sample get the alignment's. An alignment
    that needs no change is handed on.

    Args:
        dictionary: of the reference, with the MD5 of each contig.
        aligned_to: the same of the reference that it was aligned to, where that is known and another one.

    Raises:
        FormatError: contigs of other lengths or checksums than in the reference, or none in common.
        InvalidAssetError: CRAM; reads on a contig that the reference lacks; read groups of another sample, or of a
            platform with long reads.
    """
    assert alignment.path is not None
    assert dictionary.path is not None
    if is_cram(alignment.path):
        raise InvalidAssetError(f"the alignment of {alignment.sample!r} is CRAM; convert it: `samtools view -b -T "
                                "reference.fa -o out.bam in.cram`, and add that")  # fmt: skip
    text = await samtools("view", "-H", "--no-PG", alignment.path).text()
    header, contigs = sam_header(text), sam_contigs(dictionary.path.read_text())
    fit = check_header(header, alignment.sample, reference.build, contigs)
    if aligned_to is not None:
        assert aligned_to.path is not None
        compare(
            f"the reference that the alignment of {alignment.sample!r} was made with",
            sam_contigs(aligned_to.path.read_text()),
            f"the reference {reference.build}",
            contigs,
        )
    placed: dict[str, int] = {}
    if fit.missing:
        # from a pipe, for an index from elsewhere may lack the counts
        counts = samtools("view", "--no-PG", "-u", alignment.path) | samtools("idxstats", "-")
        for contig, _, mapped, unmapped in (line.split("\t") for line in (await counts.text()).splitlines()):
            if contig in fit.missing and (int(mapped) or int(unmapped)):
                placed[contig] = int(mapped)
        if strange := [contig for contig in placed if placed[contig]]:
            raise InvalidAssetError(
                f"the alignment of {alignment.sample!r} has reads on {', '.join(strange[:3])}, which the reference "
                f"{reference.build} does not have; add the reference that it was aligned to, with a build= of its own"
            )
    checked = alignment
    rewritten = conformed_header(text, alignment.sample, contigs)
    bam = alignment.path
    if list(header.contigs) != list(contigs):
        names, bam = workspace() / "contigs.tsv", workspace() / "renumbered.bam"
        names.write_text("".join(f"{name}\t{contig.length}\n" for name, contig in contigs.items()))
        await (
            samtools("view", "--no-PG", alignment.path)
            | samtools("view", "--no-PG", "-b", "-t", names, "-o", bam, "-")
        )
    if rewritten != text:
        conformed = workspace() / "conformed.bam"
        (workspace() / "header.sam").write_text(rewritten)
        await samtools("reheader", "--no-PG", workspace() / "header.sam", bam, stdout=conformed)
        bam = expect(conformed, by="samtools reheader")
    if not header.read_groups:
        grouped = workspace() / "grouped.bam"
        await samtools("addreplacerg", "--no-PG", "-r", f"ID:{group_id(alignment.sample)}",
                       "-r", f"SM:{alignment.sample}", "-o", grouped, bam)  # fmt: skip
        bam = expect(grouped, by="samtools addreplacerg")
    if bam != alignment.path:
        keeps_order = fit.in_order and not placed
        checked = alignment.evolve(
            path=bam,
            reference_cid=reference,
            build=reference.build,
            sorted_by=alignment.sorted_by if keeps_order else "unsorted",
        )
    notes, duplicates_marked = list(fit.notes), alignment.duplicates_marked or header.duplicates_marked
    if not duplicates_marked:
        flagged = int(await samtools("view", "-c", "-f", DUPLICATE, alignment.path).text())
        if flagged:
            notes.append(
                f"{flagged:,} reads of {alignment.sample} were flagged as duplicates, and the header names no program "
                "that marks them: duplicates were marked anew. To keep these flags, say that they are right: "
                f"`stargazer amend {alignment.cid} duplicates_marked=true`."
            )
    report = workspace() / "check.json"
    report.write_text(
        json.dumps({"sample": alignment.sample, "build": reference.build, "notes": notes}, indent=1)
    )
    return CheckedAlignment(
        checked,
        duplicates_marked,
        QcReport(path=report, kind="alignment_check", sample=alignment.sample, alignment_cid=checked),
    )


@htslib_env.task(tools=[samtools])
async def split_libraries(alignment: Alignment) -> list[Alignment]:
    """One alignment for each library of an alignment from elsewhere, with what marking duplicates needs.

    Duplicates are copies of a molecule, so they are looked for within a library. Reads whose read group names no
    library are together in the last one. The mates of each read are next to it for `samtools fixmate -m`; then the
    reads are sorted by coordinate. Reads whose mates are not in the file are single reads from then on: callers leave
    out what is paired but not properly.
    """
    assert alignment.path is not None
    text = await samtools("view", "-H", "--no-PG", alignment.path).text()
    header = sam_header(text)
    unnamed = not header.read_groups or any(not group.get("LB") for group in header.read_groups)
    choices: list[tuple[str | None, list[str]]] = [(library, ["-l", library]) for library in header.libraries]
    if len(choices) > 1 or unnamed:
        choices.append((None, ["-e", 'library==""']))
    if len(header.libraries) + unnamed == 1:
        choices = [(header.libraries[0] if header.libraries else None, [])]
    # of single reads, `fixmate` would make pairs where two have one name
    has_pairs = int(await samtools("view", "-c", "-f", "PAIRED", alignment.path).text()) > 0
    parts = []
    for number, (library, chosen) in enumerate(choices):
        bam = workspace() / f"library{number}.bam"
        reads = samtools("view", "--no-PG", "-u", *chosen, alignment.path)
        if has_pairs:
            reads = (
                reads
                | samtools("collate", "--no-PG", "-u", "-O", "-T", workspace() / f"collate{number}", "-")
                | samtools("fixmate", "--no-PG", "-m", "-p", "-u", "-", "-")
            )
        await (
            reads
            | samtools(
                "sort", "--no-PG", "-l", 1, "-m", "512M", "-T", workspace() / f"sort{number}", "-o", bam, "-"
            )
        )
        bam = await _with_single_reads(expect(bam, by="samtools sort"))
        parts.append(alignment.evolve(path=bam, sorted_by="coordinate", library=library or alignment.library))
    return parts


async def _with_single_reads(bam: Path) -> Path:
    """The same reads, those without their mates no longer marked as of a pair."""
    if not int(await samtools("view", "-c", "-e", WITHOUT_MATE, bam).text()):
        return bam
    singles, others, both = (
        bam.with_name(f"{bam.stem}.{part}.bam") for part in ("singles", "others", "both")
    )
    await samtools("view", "--no-PG", "-u", "-e", WITHOUT_MATE, "--remove-flags", "PAIRED", "-U", others,
                   "-o", singles, bam)  # fmt: skip
    await samtools("merge", "--no-PG", "-c", "-p", "-l", 1, "-o", both, others, singles)
    return expect(both, by="samtools merge")
