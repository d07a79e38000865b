"""Checks claims: each is confirmed, contradicted or unverifiable, and says what of."""

from __future__ import annotations

import contextlib
import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.assets.keyvalues import composed
from stargazer.mcp.claims.conditions import SAMPLE, Condition, Rows
from stargazer.mcp.claims.files import OF_ABOUT, OF_RECORD, File, Files, head
from stargazer.mcp.claims.numbers import Written, is_coarse, is_number, is_percent, same
from stargazer.mcp.claims.queries import Tally, in_words, kind_of, tally_of
from stargazer.mcp.claims.reports import load, resolve
from stargazer.mcp.claims.statements import about_of, check_selection, check_site, check_statement, numbers_in
from stargazer.mcp.claims.tables import Table, opened_text
from stargazer.mcp.claims.verdicts import Contradicted, Unverifiable, alike, near
from stargazer.mcp.strict_json import JsonError, parse, shortened

if TYPE_CHECKING:
    from stargazer.mcp.claims.variants import Genotype
    from stargazer.storage import Store

__all__ = ["MOST", "check_claims"]

MOST = 100
"""Claims in one call."""

KEYS = ("cid", "field", "query", "value", "about", "statement", "tolerance")
EXAMPLE = (
    'for example {"cid": "bafkrei...", "about": {"sample": "NA12878"}, '
    '"field": "samples.NA12878.coverage.mean", "value": 31.2}'
)
SHOWN = 200  # characters of a text in an answer
WIDEST = Decimal("0.1")  # tolerance, as a share of the value
REPORT = (
    "report what is confirmed, if asked is what you say of it; correct what is contradicted; leave out what is "
    "unverifiable, or say that it is"
)


@attrs.define(kw_only=True)
class _Check:
    """One claim, and what has become of it.

    Attributes:
        about: what the statement says of the file.
        samples: those that it is about.
        within: how far a number may be from the claimed one, if its digits do not say it.
        percent: the figure is in percent.
        noun: what rows of the file are called.
    """

    number: int
    claim: Any
    about: Mapping[str, Any] = attrs.field(factory=dict)
    samples: list[str] = attrs.field(factory=list)
    within: Decimal | None = None
    percent: bool = False
    noun: str = "rows"
    file: File | None = None
    verdict: Literal["", "confirmed", "contradicted", "unverifiable"] = ""
    told: dict[str, Any] = attrs.field(factory=dict)

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """What ends the check inside becomes the verdict."""
        try:
            yield
        except Unverifiable as end:
            self.verdict = "unverifiable"
            self.told |= {"why": str(end), "then": end.then, "near": [_cut(each) for each in end.nearest]}
        except Contradicted as end:
            self.verdict = "contradicted"
            self.told["why"] = str(end)

    def compare(self, found: Any) -> None:
        """Settle the claim by the true value."""
        claimed = self.claim["value"]
        if isinstance(found, dict):
            from stargazer.mcp.claims.variants import matches

            is_same = matches(found, claimed)
        else:
            self.told["found"] = _plain(found)
            self._refuse_unclear(found[0] if isinstance(found, list) and len(found) == 1 else found)
            is_same = same(found, claimed, self.within, percent=self.percent)
        self.verdict = "confirmed" if is_same else "contradicted"
        self.told["found"] = _plain(found)

    def _refuse_unclear(self, found: Any) -> None:
        """See that the claimed value can be compared with a number.

        Raises:
            Unverifiable: it is written as no number is, or as something else than the figure.
        """
        claimed = self.claim["value"]
        if not is_number(found):
            return
        written = Written.read(claimed)
        if written is None:
            if isinstance(claimed, str):
                numbers = numbers_in(claimed[:SHOWN], percent=self.percent)
                example = f'for example "value": {numbers[0]:f}' if numbers else EXAMPLE
                raise Unverifiable(
                    f"the file has a number, and {shortened(claimed)} is not written as one",
                    f"write the number alone, in the unit of the file: {example}",
                )
            return
        if written.percent and not self.percent and isinstance(found, int) and found not in (0, 1):
            raise Unverifiable(
                "the figure is a whole number, and the claimed value a percentage",
                "claim the number as it is, or a query share",
            )
        if self.within is not None and isinstance(found, int):
            raise Unverifiable("the figure is a whole number, which is exact", "leave out tolerance")
        if self.within is None and is_coarse(found, written.of(percent=self.percent)):
            raise Unverifiable(
                f"{shortened(claimed)} says too little of a figure that is no whole number",
                "write it with more digits",
            )

    def as_dict(self) -> dict[str, Any]:
        """The answer to this claim."""
        claimed = self.claim.get("value") if isinstance(self.claim, Mapping) else None
        cid = self.claim.get("cid") if isinstance(self.claim, Mapping) else None
        answer = {"claim": self.number, "verdict": self.verdict, "claimed": _plain(claimed), **self._asked()}
        answer |= self.told
        answer = {key: value for key, value in answer.items() if value not in ("", [])}
        return answer | {"cid": _plain(cid), **({"file": _plain(self.file.as_dict())} if self.file else {})}

    def _asked(self) -> dict[str, Any]:
        """What was compared with the value: in words, and as it was given."""
        if not isinstance(self.claim, Mapping):
            return {}
        query, field = self.claim.get("query"), self.claim.get("field")
        if not isinstance(query, Mapping) and (query is not None or not isinstance(field, str)):
            return {}
        words = in_words(query, self.noun) if query is not None else shortened(field).strip('"')
        names = [
            name for name in self.samples if query is not None or name not in re.split(r"[./\[\]=]", words)
        ]
        of = f" of {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}" if names else ""
        given = {"query": query} if query is not None else {"field": field}
        return {"asked": _cut(words + of), **_plain(given)}


def check_claims(store: Store, claims: Sequence[Any]) -> dict[str, Any]:
    """Check statements about stored files against their verified bytes and their metadata.

    Args:
        claims: at most `MOST`; docs/claims.md says what one is.

    Returns:
        How many were `confirmed`, `contradicted` and `unverifiable`, and of each under `results` the verdict, the value
        that was `found`, the CID and what is known of the file.

    Raises:
        InvalidAssetError: no list of claims, none, or too many.
    """
    if not isinstance(claims, Sequence) or isinstance(claims, str) or not 0 < len(claims) <= MOST:
        raise InvalidAssetError(f"claims: expected a list of 1 to {MOST} claims; {EXAMPLE}")
    checks = [_Check(number=number, claim=_given(claim)) for number, claim in enumerate(claims)]
    waiting: defaultdict[tuple[str, str], list[_Check]] = defaultdict(list)  # by registration and axis
    files, documents = Files(store), dict[str, Any]()
    for check in checks:
        with check.judged():
            if _prepare(files, documents, check):
                query = check.claim["query"]
                assert check.file is not None
                waiting[check.file.record.id, str(query.get("axis", "obs"))].append(check)
    for (_, axis), of_file in waiting.items():
        _ask(files, of_file, axis)
    verdicts = ("confirmed", "contradicted", "unverifiable")
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in verdicts}
    return {**counts, "results": [check.as_dict() for check in checks], "next": REPORT}


def _given(claim: Any) -> Any:
    """A claim, also one that was sent as JSON text."""
    with contextlib.suppress(JsonError):
        return parse(claim) if isinstance(claim, str) else claim
    return claim


def _prepare(files: Files, documents: dict[str, Any], check: _Check) -> bool:
    """Settle a claim about metadata or a report; whether rows are still to be asked.

    Args:
        documents: reports that were read, by CID.

    Raises:
        Unverifiable, Contradicted: it ends before.
    """
    claim = check.claim
    if isinstance(claim, str):
        raise Unverifiable(f"a claim is an object, and {shortened(claim)} is no JSON of one", EXAMPLE)
    if not isinstance(claim, Mapping) or not {"cid", "value"} <= claim.keys():
        raise Unverifiable("a claim has cid, value, and field or query", EXAMPLE)
    if unknown := sorted(map(str, claim.keys() - set(KEYS))):
        raise Unverifiable(f"a claim has no {shortened(unknown[0])}", EXAMPLE, alike(unknown[0], KEYS))
    if ("field" in claim) is ("query" in claim):
        raise Unverifiable("a claim has either field or query", EXAMPLE)
    query, field = claim.get("query"), claim.get("field")
    if query is not None and not isinstance(query, Mapping):
        raise Unverifiable("query is an object", 'for example "query": {"what": "count", "where": []}')
    if query is None and not (isinstance(field, str) and field):
        raise Unverifiable("field is a text", EXAMPLE)
    check.about, check.samples = about_of(claim)
    check.percent = _in_percent(query, field, check.samples)
    check.within = _within(claim, percent=check.percent)
    check_statement(files.store, claim, check.samples, percent=check.percent)
    registrations = files.find(claim["cid"], check.samples, check.about)
    check.file = registrations[0]
    if query is not None:
        kind_of(query)
        _check_about(check, None)
        return True
    check.compare(_field(files, documents, check, str(field), registrations))
    return False


def _field(
    files: Files, documents: dict[str, Any], check: _Check, field: str, registrations: Sequence[File]
) -> Any:
    """What a report has at a path, or the metadata of its file says.

    Raises:
        Unverifiable, Contradicted: nothing, or not of what the statement is about.
    """
    file = registrations[0]
    if field in ("sample", "samples") and not check.samples:  # which says itself of whom it is
        check.samples = file.samples
    _check_about(check, None)
    if file.has(field) and not _speaks(files, documents, file, field):
        said = [each.field(field) for each in registrations]
        if any(each != said[0] for each in said):
            check.told["registrations"] = [
                {"id": each.record.id, "samples": _plain(each.samples), "found": _plain(value)}
                for each, value in list(zip(registrations, said, strict=True))[:20]
            ]
            raise Unverifiable(
                "the file is registered several times, with different values",
                'name the registration that the statement is about: "about": {"id": ...}',
            )
        if said[0] is None and check.claim["value"] is not None:
            raise Unverifiable(
                f"the metadata of the file says nothing of {shortened(field)}",
                "claim it of a file that says it, or say what the file is: call update_file",
            )
        return said[0]
    return _in_report(files, documents, check, field)


def _speaks(files: Files, documents: dict[str, Any], file: File, field: str) -> bool:
    """Whether a report says itself what its metadata says too: its bytes count."""
    if field in OF_RECORD or file.record.keyvalues.get("asset") != "qc_report":
        return False
    try:
        resolve(_document(files, documents, file), field)
    except Unverifiable:
        return False
    return True


def _document(files: Files, documents: dict[str, Any], file: File) -> Any:
    """The document of a report; read once."""
    path, cid = files.read(file), file.record.cid
    if cid not in documents:
        documents[cid] = load(path)
    return documents[cid]


def _in_report(files: Files, documents: dict[str, Any], check: _Check, field: str) -> Any:
    """What a report has at a path.

    Raises:
        Unverifiable, Contradicted: nothing, or of another sample.
    """
    file = check.file
    assert file is not None
    try:
        found, passed = resolve(_document(files, documents, file), field)
    except Unverifiable as end:
        names = alike(field, file.names())
        raise Unverifiable(str(end), end.then, end.nearest or names) from None
    narrowed = {name for name in map(composed, passed) if name in {*file.samples, *check.samples}}
    _check_about(check, narrowed)
    return found


def _within(claim: Mapping[str, Any], *, percent: bool) -> Decimal | None:
    """How far a number may be from the one that is claimed; None where its digits say it.

    Args:
        percent: the figure is in percent.

    Raises:
        Unverifiable: a tolerance that is none, or so wide that it confirms anything.
    """
    given = claim.get("tolerance")
    if given is None:
        return None
    written, tolerance = Written.read(claim["value"]), Written.read(given)
    if written is None or tolerance is None or tolerance.value < 0 or tolerance.percent:
        raise Unverifiable(
            "tolerance is a number from 0, in the unit of a value that is a number",
            'write how far off it may be, for example "value": 31.2, "tolerance": 0.5',
        )
    written = written.of(percent=percent)
    if tolerance.value > max(abs(written.value) * WIDEST, written.half):
        raise Unverifiable(
            "a tolerance of more than a tenth of the value confirms too much", "give a smaller one, or none"
        )
    return tolerance.value


def _in_percent(query: Mapping[str, Any] | None, field: Any, samples: Sequence[str]) -> bool:
    """Whether the names that lead to a figure say that it is in percent."""
    if query is not None:
        return query.get("what") in ("sum", "mean", "value") and is_percent(str(query.get("column")))
    for name in samples:
        field = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "", str(field))
    return is_percent(str(field))


def _check_about(check: _Check, narrowed: set[str] | None) -> None:
    """See that the file is what the statement says that it is.

    Args:
        narrowed: the samples that the figure is about, as far as a query or a path selects some; None if it is of the
            file as a whole, or that is not known yet.

    Raises:
        Contradicted: it is another one.
        Unverifiable: it does not say, the file counts no more, or the figure is of more samples than the statement.
    """
    file = check.file
    assert file is not None
    wanted, of = set(check.samples), set(file.samples)
    if file.is_said:
        file.refuse_amended("sample", "samples")
    names = ", ".join(map(shortened, check.samples[:3]))
    if of and not wanted:
        raise Unverifiable(
            "the file is of a sample, and the claim does not say which sample the statement is about",
            'give "about": {"sample": NAME} with the one that your statement names: do not take it from this answer',
        )
    if of and not wanted <= of:
        check.told["is_of"] = {"samples": _plain(file.samples)}
        raise Contradicted(f"the statement is about {names}, and the file is not of it")
    _check_fields(check, file)
    if file.superseded and check.about.get("superseded") is not True:
        raise Unverifiable(
            "another file took the place of this one: see superseded_by",
            'claim it of that file, or say "superseded": true in about if the statement is about the old one',
        )
    if narrowed is None:
        return
    if narrowed and narrowed != wanted:
        raise Contradicted(f"the statement is about {names}, and the figure is of another sample of the file")
    if not narrowed and wanted and not of:
        raise Unverifiable(
            "nothing says of which sample the file is", "claim it of a file that says it, or call update_file"
        )
    if not narrowed and wanted != of:
        raise Unverifiable(
            f"the figure is of all {len(of)} samples of the file, and the statement is about fewer",
            "select the sample in the path or the query, or name all samples in about",
        )


def _check_fields(check: _Check, file: File) -> None:
    """See that the metadata of a file, or of what it was made of, is as the statement says.

    Raises:
        Contradicted: it is another.
        Unverifiable: nothing says.
    """
    for key, value in check.about.items():
        if key in OF_ABOUT:
            continue
        file.refuse_amended(key)
        said = file.says(key)
        if not said:
            raise Unverifiable(
                f"the metadata of the file says nothing of {shortened(key)}",
                "claim it of a file that says it, or say what the file is: call update_file",
                near(key, file.names()),
            )
        if not same(said[0], value, Decimal(0)):
            check.told["is_of"] = {_cut(key): _plain(said[0])}
            raise Contradicted(
                f"the statement is about {shortened(key)} {shortened(value)}, and the file is not"
            )


def _ask(files: Files, checks: list[_Check], axis: str) -> None:
    """Settle claims about the rows of one file, in one pass."""
    file = checks[0].file
    assert file is not None
    asked: list[tuple[_Check, Tally | Genotype]] = []
    end: Unverifiable | None = None
    with contextlib.ExitStack() as stack:
        try:
            rows = stack.enter_context(_opened(file, files.read(file), axis))
            for check in checks:
                with check.judged():
                    asked.append((check, _counter(check, rows)))
            for row in rows.rows() if asked else ():
                for _, counter in asked:
                    counter.add(row)
        except Unverifiable as error:
            end = error
        except (OSError, ValueError, LookupError, EOFError, csv.Error):
            end = Unverifiable("the file cannot be read to its end as what it is registered as")
    if end is not None:
        for check in checks:
            with check.judged():
                if not check.verdict:
                    raise end
    for check, counter in asked if not end else ():
        with check.judged():
            found = counter.result(check.claim["value"])
            check.told |= counter.as_dict()
            column, claimed = getattr(counter, "column", None), check.claim["value"]
            if (
                column
                and (column.closed or column.form)
                and isinstance(found, str)
                and isinstance(claimed, str)
            ):
                column.suited(claimed)
            check.compare(found)


def _counter(check: _Check, rows: Rows) -> Tally | Genotype:
    """What answers a query while rows go by.

    Raises:
        Unverifiable, Contradicted: the query is wrong, or about something else than the statement.
    """
    file = check.file
    assert file is not None
    if rows.samples:
        file.samples = rows.samples  # what the bytes say counts
        _check_about(check, None)
    given, check.noun = check.claim["query"], rows.noun
    of_one = check.samples[0] if len(check.samples) == 1 else None
    query = {**given, "sample": of_one}
    if given["what"] == "genotype":
        finder = getattr(rows, "genotype", None)
        if finder is None:
            raise Unverifiable("genotypes are in VCF and BCF files alone", "name such a file")
        counter: Genotype | Tally = finder(query)
        check_site(check.claim.get("statement"), str(given["chrom"]), str(given["pos"]))
        narrowed = {query["sample"] or file.samples[0]}
    else:
        tally = counter = tally_of(query, rows)
        conditions = [*tally.of, *tally.where]
        columns = [condition.column for condition in conditions] + ([tally.column] if tally.column else [])
        check_selection(check.claim.get("statement"), conditions, columns, calls=hasattr(rows, "genotype"))
        narrowed = {name for condition in conditions for name in _selected(condition)}
        if any(column.of_sample for column in columns):
            narrowed = {query["sample"] or file.samples[0]}
    _check_about(check, narrowed)
    return counter


def _selected(condition: Condition) -> list[str]:
    """The samples that a condition selects."""
    if condition.column.name != SAMPLE or condition.op not in ("=", "in"):
        return []
    return [composed(str(each)) for each in (condition.value if condition.op == "in" else [condition.value])]


@contextlib.contextmanager
def _opened(file: File, path: Path, axis: str) -> Iterator[Rows]:
    """The rows of a file, whatever its format.

    Args:
        file: what is known of it.
        axis: of a matrix.

    Raises:
        Unverifiable: it has none that can be asked.
    """
    first = head(path)
    if first.startswith(b"\x89HDF"):
        from stargazer.mcp.claims.cells import Cells

        with contextlib.closing(Cells(path, axis)) as cells:
            if file.is_said:  # the column may then be of something else
                cells.samples = []
            yield cells
    elif first.startswith((b"BCF", b"##fileformat=VCF")):
        from stargazer.mcp.claims.variants import Variants
        from stargazer.tasks import quiet_htslib

        is_gvcf = file.record.keyvalues.get("kind") == "gvcf"
        with quiet_htslib(), contextlib.closing(Variants(path, is_gvcf=is_gvcf)) as variants:
            yield variants
    elif first.lstrip()[:1] in (b"{", b"["):
        raise Unverifiable(
            "the file is a JSON document", 'name the value by its path: "field": "samples.NAME.mean"'
        )
    elif b"\0" in first or first.startswith((b"BAM", b"CRAM", b"<")):
        raise Unverifiable(
            "files of this format cannot be asked", "claim the figure of a report about it, by field"
        )
    else:
        with opened_text(path) as text:
            yield Table(text)


def _plain(value: Any) -> Any:
    """A value for an answer, with texts in it cut."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, Mapping):
        return {_cut(str(key)): _plain(inner) for key, inner in list(value.items())[:20]}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value[:20]]
    return value if isinstance(value, int | float | None) else str(value)[:SHOWN]


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"
