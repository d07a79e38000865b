"""Reads how many copies of each contig a sample has, as people write it, into the tables of `bcftools call`.

An item is `CONTIG:COPIES`, for all samples, or `CONTIG:SEX:COPIES`, for those of a sex (M or F); a part of the contig
may follow its name, `CONTIG:FROM-TO:SEX:COPIES`, one-based and inclusive. `GRCh37` and `GRCh38` stand for the tables of
bcftools: chrM with one copy; chrX and chrY by sex, but for the pseudoautosomal regions. What no item names has two.
Where items overlap, that of a part of the contig counts before that of the whole, that of a sex before that of all
samples, and any before GRCh37 and GRCh38.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Collection, Mapping, Sequence

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.assets.keyvalues import list_text
from stargazer.tasks.checks.contigs import some

__all__ = ["MALE_NAMES", "SINGLE_NAMES", "TABLES", "read_ploidy"]

SEXES = ("M", "F")
MOST = 2  # copies that `bcftools call` can call
TABLES = {
    "GRCh37": ("X:1-60000:M:1", "X:2699521-154931043:M:1", "Y:M:1", "Y:F:0", "MT:1"),
    "GRCh38": ("X:1-9999:M:1", "X:2781480-155701381:M:1", "Y:M:1", "Y:F:0", "MT:1"),
}
"""Of `bcftools call --ploidy GRCh37` and `GRCh38`; contigs are named so or with chr before it (chrM for MT)."""
X_LENGTHS = {155_270_560: "GRCh37", 156_040_895: "GRCh38", 154_259_566: "CHM13"}
"""Of the human X in bases, by which a reference that is not of the table's build is known."""
ITEM = re.compile(r"(?:(?P<start>\d+)-(?P<end>\d+):)?(?:(?P<sex>[A-Za-z]+):)?(?P<copies>\d+)")
SINGLE_NAMES = frozenset({"chrM", "chrMT", "M", "MT"})
"""What the mitochondrial genome is called, of which everybody has one copy."""
MALE_NAMES = frozenset({"chrX", "chrY", "X", "Y"})
"""What the sex chromosomes are called."""
EXAMPLE = "ploidy=chrM:1,chrX:M:1,chrY:M:1,chrY:F:0 sex=NA12891:M,NA12892:F"


@attrs.frozen
class _Copies:
    """How many copies there are of a part of a contig, in all samples or in those of a sex.

    Attributes:
        start, end: one-based and inclusive.
        sex: M, F, or "" for both.
        rank: of two that overlap, the one with the higher rank counts.
        item: as it was written.
    """

    contig: str
    start: int
    end: int
    sex: str
    copies: int
    rank: tuple[bool, bool, bool]
    item: str


def read_ploidy(
    items: Sequence[str], sexes: Sequence[str], samples: Sequence[str], contigs: Mapping[str, int]
) -> tuple[str, list[str]]:
    """What `bcftools call` is told: the text of its `--ploidy-file`, and the sexes for its `--samples-file`.

    The one has contig, first and last position, sex and copies in a line each; the others are M or F for each sample.

    Args:
        items: as above.
        sexes: `SAMPLE:SEX`; of a single sample, SEX alone.
        samples: in the order in which they are called.
        contigs: of the reference: their lengths in bases.

    Raises:
        InvalidAssetError: an item of another form, a contig or a sample that is not there, a sex that is needed and
            not given, items that contradict each other; the message shows an example.
    """
    sex_of = _sexes(sexes, samples)
    if sexes and not items:
        raise InvalidAssetError(
            f"sex={','.join(sexes)} changes nothing without ploidy=: give ploidy=GRCh38 (or GRCh37), or copies by "
            f"contig and sex (for example: {EXAMPLE})"
        )
    rows = [row for item in items for row in _rows(item, contigs)]
    by_sex = {row.contig for row in rows if row.sex}
    if by_sex and (unknown := [sample for sample in samples if sample not in sex_of]):
        raise InvalidAssetError(
            f"ploidy depends on the sex on {', '.join(sorted(by_sex))}, and that of {', '.join(unknown)} is not given: "
            f"give sex={shlex.quote(list_text(f'{sample}:M' for sample in unknown))}, or F for a female"
        )
    lines = [
        f"{contig} {start} {end} {sex} {copies}"
        for contig in dict.fromkeys(row.contig for row in rows)
        for sex in SEXES
        for start, end, copies in _parts(
            [row for row in rows if row.contig == contig and row.sex in ("", sex)]
        )
    ]
    lines += [f"* * * {sex} 2" for sex in SEXES]
    return "".join(f"{line}\n" for line in lines), [sex_of.get(sample, SEXES[-1]) for sample in samples]


def _sexes(sexes: Sequence[str], samples: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in sexes:
        sample, _, sex = item.rpartition(":") if ":" in item or len(samples) > 1 else (*samples, "", item)
        word = sex.upper()[:1]
        if sample not in samples or word not in SEXES or sex.lower() not in ("m", "f", "male", "female"):
            raise InvalidAssetError(
                f"sex: expected SAMPLE:M or SAMPLE:F, of {', '.join(samples)}; got {item!r} (for example: {EXAMPLE})"
            )
        if found.setdefault(sample, word) != word:
            raise InvalidAssetError(f"sex: {sample!r} is given as both M and F")
    return found


def _parts(rows: Sequence[_Copies]) -> list[tuple[int, int, int]]:
    """Start, end and copies of the parts of a contig, apart: of those that overlap `bcftools call` takes any."""
    starts = sorted({row.start for row in rows} | {row.end + 1 for row in rows})
    found = []
    for start, end in itertools.pairwise(starts):
        here = [row for row in rows if row.start <= start <= row.end]
        counting = [row for row in here if row.rank == max(other.rank for other in here)]
        if len({row.copies for row in counting}) > 1:
            raise InvalidAssetError(
                f"ploidy: {' and '.join(repr(row.item) for row in counting)} contradict each other: leave one out"
            )
        found += [(start, end - 1, row.copies) for row in counting[:1]]
    return found


def _rows(item: str, contigs: Mapping[str, int]) -> list[_Copies]:
    if item in TABLES:
        named = [(part.partition(":")[0], part.partition(":")[2]) for part in TABLES[item]]
        lengths = {contigs[name]: name for name in _spellings("X") if name in contigs}
        for length, name in lengths.items():
            if X_LENGTHS.get(length, item) != item:
                other = X_LENGTHS[length]
                remedy = f"ploidy={other}" if other in TABLES else f"its parts, as {name}:FROM-TO:M:1"
                raise InvalidAssetError(
                    f"ploidy={item}: {name!r} of the reference has {length:,} bases, as in {other}, where the "
                    f"pseudoautosomal regions are elsewhere: give {remedy}"
                )
        found = [f"{name}:{rest}" for known, rest in named for name in _spellings(known) if name in contigs]
        return [
            attrs.evolve(row, rank=(False, False, False), item=item)
            for part in found
            for row in _rows(part, contigs)
        ]
    # a contig's name may hold colons (HLA-A*01:01): the longest that fits is meant
    contig = max((name for name in contigs if item.startswith((f"{name}:", f"{name}="))), key=len, default="")
    match = ITEM.fullmatch(item[len(contig) + 1 :]) if contig else None
    if not contig and re.search(r"[:=]", item):
        raise InvalidAssetError(
            f"ploidy: {item!r} names no contig of the reference, which has {some(contigs)} (for example: {EXAMPLE})"
        )
    if match is None:
        raise InvalidAssetError(
            f"ploidy: expected CONTIG:COPIES, CONTIG:SEX:COPIES, {' or '.join(TABLES)}, got {item!r} "
            f"(for example: {EXAMPLE})"
        )
    start, end = int(match["start"] or 1), int(match["end"] or contigs[contig])
    sex, copies = (match["sex"] or "").upper()[:1], int(match["copies"])
    if (match["sex"] and sex not in SEXES) or copies > MOST or not 1 <= start <= end:
        raise InvalidAssetError(
            f"ploidy: {item!r}: expected M or F for the sex, 0 to {MOST} copies, and a part that begins before it ends"
        )
    rank = (True, match["start"] is not None, sex != "")
    return [_Copies(contig, start, end, sex, copies, rank, item)]


def _spellings(contig: str) -> list[str]:
    return ["MT", "M", "chrM", "chrMT"] if contig == "MT" else [contig, f"chr{contig}"]
