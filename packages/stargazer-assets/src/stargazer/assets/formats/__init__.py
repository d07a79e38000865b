"""Reading and checking files of genomics: FASTA, FASTQ, VCF, BED, GFF3, BAM, CRAM, HDF5, and indexes of these."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
