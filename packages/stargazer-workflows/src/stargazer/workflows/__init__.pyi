from ._run import Asked, Run, find_run, new_run, run, why_not
from .arguments import command_line, convert, explaining_commas, sample_arguments, usage
from .catalogue import Entry, describe_type, entries, find_workflow
from .environments import parallel, workflow_env
from .germline import GermlineCalls, PreprocessedSample, germline_short_variant_discovery, preprocess_sample
from .lanes import fullest, is_said_by, same_lane, to_be_named
from .reference import PreparedReference, prepare_reference
from .samplesheet import (
    SampleSheet,
    SheetRow,
    beside_samplesheet,
    read_samplesheet,
    register_samplesheet,
    samplesheet_arguments,
    samplesheet_of,
    samplesheet_text,
)
from .scrna import Clustering, scrna_clustering

__all__ = [
    "Asked",
    "Clustering",
    "Entry",
    "GermlineCalls",
    "PreparedReference",
    "PreprocessedSample",
    "Run",
    "SampleSheet",
    "SheetRow",
    "beside_samplesheet",
    "command_line",
    "convert",
    "describe_type",
    "entries",
    "explaining_commas",
    "find_run",
    "find_workflow",
    "fullest",
    "germline_short_variant_discovery",
    "is_said_by",
    "new_run",
    "parallel",
    "prepare_reference",
    "preprocess_sample",
    "read_samplesheet",
    "register_samplesheet",
    "run",
    "same_lane",
    "sample_arguments",
    "samplesheet_arguments",
    "samplesheet_of",
    "samplesheet_text",
    "scrna_clustering",
    "to_be_named",
    "usage",
    "why_not",
    "workflow_env",
]
