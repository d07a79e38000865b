"""What the files of the field say of themselves: FASTA, FASTQ, HDF5, tables and the first bytes of any file."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
