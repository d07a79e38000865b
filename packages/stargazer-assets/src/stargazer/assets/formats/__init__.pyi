from .compression import GZIP, first_bytes, is_bgzf, opened
from .fasta import SMALL, ambiguity_notes, read_contigs, small_contigs
from .fastq import (
    Record,
    are_interleaved,
    first_reads,
    in_order,
    last_read,
    mate_number,
    name_of,
    read_fastq,
    template_name,
)
from .hdf5 import check_whole
from .signatures import check_hdf5
from .tables import check_dict

__all__ = [
    "GZIP",
    "SMALL",
    "Record",
    "ambiguity_notes",
    "are_interleaved",
    "check_dict",
    "check_hdf5",
    "check_whole",
    "first_bytes",
    "first_reads",
    "in_order",
    "is_bgzf",
    "last_read",
    "mate_number",
    "name_of",
    "opened",
    "read_contigs",
    "read_fastq",
    "small_contigs",
    "template_name",
]
