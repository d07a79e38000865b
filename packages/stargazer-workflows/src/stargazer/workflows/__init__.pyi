from ._notices import amended_notices, notices
from .arguments import command_line, convert, explaining_commas, sample_arguments, surely_taken, usage
from .catalogue import Entry, Kind, describe_type, entries, find_entry
from .environments import parallel, workflow_env
from .germline import GermlineCalls, PreprocessedSample, germline_short_variant_discovery, preprocess_sample
from .lanes import fullest, is_said_by, same_lane, to_be_named
from .reference import PreparedReference, prepare_reference
from .runs.calls import (
    CALL_STATES,
    call_note,
    call_state,
    event_of,
    instant,
    is_stopped,
    seconds_running,
)
from .runs.here import Asked, records_of, run, why_not
from .runs.record import Run, calls_of, events_of, find_run, list_runs, new_run, remove_run
from .runs.worker import cancel_run, resume_run, start_run, watch_run
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
from .signatures import is_known_to_fit, keep_signature
from .task_inputs import asset_types, task_arguments

__all__ = [
    "CALL_STATES",
    "Asked",
    "Clustering",
    "Entry",
    "GermlineCalls",
    "Kind",
    "PreparedReference",
    "PreprocessedSample",
    "Run",
    "SampleSheet",
    "SheetRow",
    "amended_notices",
    "asset_types",
    "beside_samplesheet",
    "call_note",
    "call_state",
    "calls_of",
    "cancel_run",
    "command_line",
    "convert",
    "describe_type",
    "entries",
    "event_of",
    "events_of",
    "explaining_commas",
    "find_entry",
    "find_run",
    "fullest",
    "germline_short_variant_discovery",
    "instant",
    "is_known_to_fit",
    "is_said_by",
    "is_stopped",
    "keep_signature",
    "list_runs",
    "new_run",
    "notices",
    "parallel",
    "prepare_reference",
    "preprocess_sample",
    "read_samplesheet",
    "records_of",
    "register_samplesheet",
    "remove_run",
    "resume_run",
    "run",
    "same_lane",
    "sample_arguments",
    "samplesheet_arguments",
    "samplesheet_of",
    "samplesheet_text",
    "scrna_clustering",
    "seconds_running",
    "start_run",
    "surely_taken",
    "task_arguments",
    "to_be_named",
    "usage",
    "watch_run",
    "why_not",
    "workflow_env",
]
