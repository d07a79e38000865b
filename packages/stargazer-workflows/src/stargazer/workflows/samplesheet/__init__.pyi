from .arguments import samplesheet_arguments
from .folder import samplesheet_of
from .registration import beside_samplesheet, register_samplesheet
from .rows import read_samplesheet
from .sheet import SampleSheet, SheetRow, samplesheet_text

__all__ = [
    "SampleSheet",
    "SheetRow",
    "beside_samplesheet",
    "read_samplesheet",
    "register_samplesheet",
    "samplesheet_arguments",
    "samplesheet_of",
    "samplesheet_text",
]
