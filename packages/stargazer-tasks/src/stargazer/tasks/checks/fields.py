"""Reads from files the fields that need not be given when they are added (`Asset.in_file`), type by type.

The functions are entry points of the group `stargazer.fields`. Contradictions are for the checks at registration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from stargazer.assets import Asset, InvalidAssetError
from stargazer.assets.formats import check_dict
from stargazer.storage import Lookup
from stargazer.tasks.checks.alignments import library_of, several_samples
from stargazer.tasks.checks.contigs import fitting, reference_of
from stargazer.tasks.checks.headers import alignment_header, sam_contigs, variants_header
from stargazer.tasks.checks.matrices import structure
from stargazer.tasks.checks.variants import is_gvcf

__all__ = ["alignment", "anndata", "known_sites", "sequence_dict", "variants"]

MOST_SAMPLES = 1000  # of variants, that are listed in their metadata

Said: TypeAlias = dict[str, str | Asset]
"""Values by field: as text, or the asset that a link points at."""


def alignment(path: Path, given: Mapping[str, str], lookup: Lookup) -> Said:
    """Sample, library, order, marked duplicates and reference of a BAM or CRAM.

    Raises:
        InvalidAssetError: no sample is given, and the header names none or several.
        FormatError: the header is damaged.
    """
    header = alignment_header(path)
    said = reference_of(lookup, header.contigs, given)
    if len(header.samples) == 1:
        said["sample"] = header.samples[0]
    elif "sample" not in given and header.samples:
        raise InvalidAssetError(several_samples(repr(path.name), header.samples, path.name))
    elif "sample" not in given:
        raise InvalidAssetError(
            f"{path.name!r}: alignment needs sample, and its header names none (@RG SM): give sample=NAME"
        )
    if library := library_of(header):
        said["library"] = library
    if header.order in ("coordinate", "queryname"):
        said["sorted_by"] = header.order
    if header.duplicates_marked:
        said["duplicates_marked"] = "true"
    return said


def variants(path: Path, given: Mapping[str, str], lookup: Lookup) -> Said:
    """Samples, kind and reference of a VCF or BCF.

    Raises:
        FormatError: the header is damaged.
    """
    header = variants_header(path)
    said = reference_of(lookup, header.contigs, given, in_part=True)
    if 0 < len(header.samples) <= MOST_SAMPLES:
        said["samples"] = json.dumps(header.samples)
    if "kind" not in given and is_gvcf(path):
        said["kind"] = "gvcf"
    return said


def known_sites(path: Path, given: Mapping[str, str], lookup: Lookup) -> Said:
    """The reference of a VCF or BCF of sites.

    Raises:
        FormatError: the header is damaged.
    """
    return reference_of(lookup, variants_header(path).contigs, given, in_part=True)


def sequence_dict(path: Path, given: Mapping[str, str], lookup: Lookup) -> Said:
    """The reference of a dictionary.

    Raises:
        InvalidAssetError: none is given, and not exactly one has these contigs.
        FormatError: it is no dictionary, or cut.
    """
    if "reference_cid" in given:
        return {}
    check_dict(path)
    contigs = sam_contigs(path.read_text(errors="replace"))
    said = reference_of(lookup, contigs, given)
    if "reference_cid" not in said:
        found = fitting(lookup, contigs, given)
        listing = "".join(
            f"\n  {reference.cid or 'given here'} build={reference.build}" for reference in found
        )
        raise InvalidAssetError(
            f"{path.name!r}: {f'{len(found)} registered references have' if found else 'no registered reference has'} "
            "its contigs: give reference_cid=CID"
            + (
                f", one of:{listing}"
                if found
                else " (`stargazer query asset=reference`), or add its reference first"
            )
        )
    return {"reference_cid": said["reference_cid"]}


def anndata(path: Path, given: Mapping[str, str], lookup: Lookup) -> Said:
    """Size and layers of a matrix, where h5py is installed.

    Raises:
        FormatError: it is damaged.
    """
    found = structure(path)
    if found is None:
        return {}
    said: Said = {name: str(size) for name, size in found.sizes.items() if size is not None}
    return said | ({"layers": json.dumps(found.layers)} if found.layers else {})
