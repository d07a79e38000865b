"""`stargazer add`: files of this machine, or a URL, become typed records of the store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stargazer.assets.addresses import is_address, without_secrets
from stargazer.mcp.cli.output import human_size, note, print_json, print_table
from stargazer.mcp.cli.words import Parser, single

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Addition, Store

__all__ = ["add"]

MOST_NOTES = 10


def add(argv: Sequence[str]) -> int:
    """Register files, all or none of them."""
    parser = Parser(
        "add",
        "FILE|URL ... [asset=TYPE] [key=value ...]",
        "Register files with what they are: copied into the store, checked and hashed; all of them or none.\n"
        "A file that contradicts its metadata, or the file that it is said to belong to, is refused.\n"
        "The type is read off the name (.bam, .fa, .bed, .vcf.gz, _R1.fq.gz ...) where asset= does not say it, and\n"
        "what a BAM, CRAM, VCF, BCF, h5ad or .dict says of itself (sample, order, reference ...) off its header.\n"
        "R1 and R2 given together are linked. A file whose name looks like key=value is written ./key=value;\n"
        "every word after -- is a file.",
        "  stargazer add GRCh38.fa build=GRCh38\n"
        "  stargazer add NA12878_R1.fq.gz NA12878_R2.fq.gz sample=NA12878 lane=L001\n"
        "  stargazer add NA12878.bam\n"
        "  stargazer add --interleaved both.fq.gz sample=NA12878\n"
        "  stargazer add --in-place /archive/NA12878.bam sample=NA12878\n"
        "  stargazer add https://example.org/GRCh38.fa.gz --sha256 SUM build=GRCh38",
    )
    parser.add_argument("--sha256", metavar="SUM", help="checksum of the file behind the URL")
    parser.add_argument("--md5", metavar="SUM", help="the same as MD5, where nothing better is published")
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="do not copy: the store points at the files, which must stay where and as they are",
    )
    parser.add_argument(
        "--interleaved",
        action="store_true",
        help="each FASTQ file holds first and second reads by turns: it becomes an r1 and an r2",
    )
    parser.add_argument(
        "--public", action="store_true", help="send it to the public IPFS network: for everybody, for ever"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="register what a check refuses; provenance says that it was forced",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before publishing")
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    words = parser.sort(argv)
    pairs = single(words, parser)
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
    if urls and len(words.plain) > 1:
        parser.error("give one URL alone, so that the checksum is clear")
    if sums and not urls:
        parser.error("--sha256 and --md5 are for a URL")
    in_place = words.options.in_place
    if urls and in_place:
        parser.error("--in-place is for files of this machine: a URL is downloaded into the store")
    interleaved = words.options.interleaved
    if interleaved and (urls or in_place or "asset" in pairs):
        parser.error("--interleaved is for files of this machine, which are copied, as r1 and r2")
    paths = [Path(word) for word in words.plain]
    consent = _Consent(words.options.public, words.options.yes)
    force = words.options.force
    records = (
        _add_url(urls[0], sums, pairs, consent, force=force)
        if urls
        else _add_interleaved(paths, pairs, consent, force=force)
        if interleaved
        else _add_files(paths, pairs, consent, in_place=in_place, force=force)
    )
    _report(records, as_json=words.options.json)
    return 0


class _Consent(NamedTuple):
    """What was said of publishing: that it is meant, and that nobody needs to be asked."""

    public: bool
    yes: bool

    def ask(self, store: Store, items: list[Addition]) -> list[Addition]:
        """The same files, marked as public if they are to be.

        Raises:
            ConfigurationError: there is no account, or it was not agreed to.
        """
        import attrs

        if not self.public and not (store.remote and store.remote.publishes):
            return items
        from stargazer.mcp.cli.transferring import confirm_public
        from stargazer.storage import check_files, check_metadata
        from stargazer.storage.pinata import account_of

        account_of(store)
        check_files(items)  # before anybody is asked
        check_metadata([item.asset for item in items])
        confirm_public([(item.title, os.path.getsize(item.path)) for item in items], yes=self.yes)
        return [attrs.evolve(item, public=True) for item in items]


def _add_files(
    paths: list[Path], pairs: Mapping[str, str], consent: _Consent, *, in_place: bool, force: bool
) -> list[IpFile]:
    from stargazer.storage import additions_of, get_client

    store = get_client().store
    items = additions_of(paths, pairs, store, in_place=in_place, force=force)
    return _registered(store, items, consent)


def _add_interleaved(
    paths: list[Path], pairs: Mapping[str, str], consent: _Consent, *, force: bool
) -> list[IpFile]:
    """The records of what the first and second reads of files become, in files of their own."""
    import attrs
    from stargazer.assets import FormatError
    from stargazer.mcp.interleaved import split
    from stargazer.storage import additions_of, get_client, names_of_mates, private_folder

    store = get_client().store
    for path in paths:  # what is wrong with the words, before anything is written
        if not path.is_file():
            raise FormatError(f"no such file: {str(path)!r}")
        additions_of([Path(name) for name in names_of_mates(path.name)], pairs, store, there=False)
    with private_folder(store.objects.work, "interleaved") as folder:
        items = []
        for number, path in enumerate(paths):
            (own := folder / str(number)).mkdir()
            for item in additions_of(split(path, own), pairs, store, force=force):
                items.append(attrs.evolve(item, origin=path.name))
        return _registered(store, items, consent)


def _add_url(
    url: str, sums: Mapping[str, str], pairs: Mapping[str, str], consent: _Consent, *, force: bool
) -> list[IpFile]:
    import attrs
    from stargazer.storage import additions_of, fetch_file, file_name, get_client

    store = get_client().store
    additions_of(
        [Path(file_name(url))], pairs, store, there=False
    )  # what is wrong with the words, before the download
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(fetch_file(url, sums, store.objects.work, note))
        (item,) = additions_of([path], pairs, store, force=force)
        return _registered(store, [attrs.evolve(item, origin=without_secrets(url))], consent)


def _registered(store: Store, items: list[Addition], consent: _Consent) -> list[IpFile]:
    """The records of what is added, with notes about what the store had before."""
    from stargazer.mcp.noticing import notices
    from stargazer.storage import now

    items = consent.ask(store, items)
    began = now()
    records = store.add(items)
    found = notices(store, records, began)
    for line in found[:MOST_NOTES]:
        note(line)
    if len(found) > MOST_NOTES:
        note(f"... and {len(found) - MOST_NOTES} more notes like these")
    return records


def _report(records: Sequence[IpFile], *, as_json: bool) -> None:
    from stargazer.mcp.records import as_dict, fields_text

    if as_json:
        print_json([as_dict(record) for record in records])
        return
    rows = [
        [record.keyvalues["asset"], fields_text(record), record.name, human_size(record.size), record.cid]
        for record in records
    ]
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "CID"], rows)
