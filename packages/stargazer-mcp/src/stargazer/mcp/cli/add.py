"""`stargazer add`: registers files of this machine, or a file behind a URL, with what they are."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from stargazer import storage
from stargazer.assets.addresses import is_address, without_secrets
from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    Words,
    count,
    note,
    option,
    print_files,
    print_json,
)
from stargazer.mcp.cli.progress import byte_progress, working
from stargazer.mcp.records import as_dict
from stargazer.mcp.registration import described, downloaded, register, register_rows, split_reads
from stargazer.storage import pinata

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Addition, Store
    from stargazer.workflows import SampleSheet

__all__ = ["add", "add_rows"]


def add(argv: Sequence[str]) -> None:
    """Register files, all or none of them."""
    parser = Parser(
        "add",
        "FILE|FOLDER|URL ... [asset=TYPE] [key=value ...] [--sha256 SUM | --md5 SUM]\n"
        "       [--in-place | --interleaved] [--force] [--public] [--yes] [--json]\n"
        "       stargazer add --samplesheet SHEET [--in-place] [--force] [--public] [--yes] [--json]",
        "Register files with what they are: copied into the store, checked and hashed; all of them or none.\n"
        "A file that contradicts its metadata, or the file that it is said to belong to, is refused.\n"
        "The type is read off the name (.bam, .fa, .bed, .vcf.gz, _R1.fq.gz ...) where asset= does not say it, and\n"
        "what a BAM, CRAM, VCF, BCF, h5ad or .dict says of itself (sample, order, reference ...) off its header.\n"
        "R1 and R2 given together are linked. A folder of Cell Ranger (matrix, barcodes, features) is packed.\n"
        "A file whose name looks like key=value is written ./key=value; every word after -- is a file.",
        "  stargazer add GRCh38.fa build=GRCh38\n"
        "  stargazer add NA12878_R1.fq.gz NA12878_R2.fq.gz sample=NA12878 lane=L001\n"
        "  stargazer add NA12878.bam\n"
        "  stargazer add outs/filtered_feature_bc_matrix sample=pbmc\n"
        "  stargazer add --samplesheet samples.csv\n"
        "  stargazer add --interleaved both.fq.gz sample=NA12878\n"
        "  stargazer add --in-place /archive/NA12878.bam sample=NA12878\n"
        "  stargazer add https://example.org/GRCh38.fa.gz --sha256 SUM build=GRCh38",
        {
            "--samplesheet": option(
                "SHEET",
                "register the files of every row: CSV or TSV, columns as of nf-core/sarek or sample,path",
                type=Path,
            ),
            "--sha256": option("SUM", "checksum of the file behind the URL"),
            "--md5": option("SUM", "the same as MD5, where nothing better is published"),
            "--in-place": "do not copy: the store points at the files, which must stay where and as they are",
            "--interleaved": "each FASTQ file holds first and second reads by turns: it becomes an r1 and an r2",
            "--public": "send it to the public IPFS network: for everybody, for ever",
            "--force": "register what a check refuses; provenance says that it was forced",
            "--yes": "do not ask before publishing",
            "--json": "print the records as JSON",
        },
    )
    words = parser.sort(argv)
    pairs = parser.single(words)
    if words.options.samplesheet is not None:
        _add_samplesheet(parser, words)
        return
    if not words.plain:
        meant = next((word for word in words.options.words if os.path.exists(word)), "")
        parser.error(
            f"{meant!r} reads as key=value: write './{meant}'" if meant else "give at least one file"
        )
    urls = [word for word in words.plain if is_address(word) and not os.path.exists(word)]
    for word in urls:
        if not word.lower().startswith(("http://", "https://")):
            parser.error(
                f"{without_secrets(word)!r} cannot be downloaded: expected http:// or https://; a file of this machine "
                "is given by its path"
            )
    sums = {name: value for name in ("sha256", "md5") if (value := getattr(words.options, name))}
    options = words.options
    if urls and len(words.plain) > 1:
        parser.error("give one URL alone, so that the checksum is clear")
    if sums and not urls:
        parser.error("--sha256 and --md5 are for a URL")
    if urls and options.in_place:
        parser.error("--in-place is for files of this machine: a URL is downloaded into the store")
    if options.interleaved and (urls or options.in_place or "asset" in pairs):
        parser.error("--interleaved is for files of this machine, which are copied, as r1 and r2")

    store = storage.get_client().store
    paths = [Path(word) for word in words.plain]
    with contextlib.ExitStack() as stack:  # of what is downloaded, split or packed before it is registered
        with byte_progress("downloading" if urls else "reading") as progress:
            items = stack.enter_context(
                downloaded(store, urls[0], sums, pairs, note, force=options.force, progress=progress)
                if urls
                else split_reads(store, paths, pairs, force=options.force)
                if options.interleaved
                else described(store, paths, pairs, in_place=options.in_place, force=options.force)
            )
        items = _with_consent(store, items, options)
        with working(f"registering {count(len(items), 'file')}"):
            records, notes = register(store, items)
    for line in notes:
        note(line)
    if options.json:
        print_json([as_dict(record) for record in records])
    else:
        print_files(records)


def _add_samplesheet(parser: Parser, words: Words) -> None:
    """Register the files of a sample sheet, and say how many of them are new."""
    options = words.options
    parser.no_words(words, "--samplesheet names files, samples and lanes: give nothing else")
    if options.interleaved or options.sha256 or options.md5:
        parser.error(
            "--samplesheet is for pairs of files of this machine: leave --interleaved, --sha256, --md5 out"
        )
    from stargazer.workflows import read_samplesheet

    store = storage.get_client().store
    records = add_rows(
        store,
        read_samplesheet(options.samplesheet),
        in_place=options.in_place,
        force=options.force,
        agreed=(lambda items: _with_consent(store, items, options)) if _is_public(store, options) else None,
    )
    if options.json:
        print_json([as_dict(record) for record in records])
    else:
        print_files(records, most=SHOWN)


def add_rows(
    store: Store,
    sheet: SampleSheet,
    *,
    in_place: bool = False,
    force: bool = False,
    agreed: Callable[[list[Addition]], list[Addition]] | None = None,
) -> list[IpFile]:
    """The records of the files of a sample sheet, registered as of `register_samplesheet`; what is new is said."""
    for line in sheet.notes:
        note(f"note: {line}")
    # whoever is asked shall see the question
    with (
        working(f"registering the files of {str(sheet.path)!r}")
        if agreed is None
        else contextlib.nullcontext()
    ):
        records, notes = register_rows(store, sheet, in_place=in_place, force=force, agreed=agreed)
    for line in notes:
        note(line)
    return records


def _with_consent(store: Store, items: list[Addition], options: argparse.Namespace) -> list[Addition]:
    """The same files, marked as public if they are to be.

    Raises:
        ConfigurationError: there is no account, or it was not agreed to.
    """
    if not _is_public(store, options):
        return items
    from stargazer.mcp.cli.push import confirm_public

    pinata.account_of(store)
    storage.check_files(items)  # before anybody is asked
    storage.check_metadata([item.asset for item in items])
    confirm_public([(item.title, os.path.getsize(item.path)) for item in items], yes=options.yes)
    return [attrs.evolve(item, public=True) for item in items]


def _is_public(store: Store, options: argparse.Namespace) -> bool:
    """Whether what is added goes to the public network."""
    return bool(options.public or (store.remote and store.remote.publishes))
