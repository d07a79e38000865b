from .arguments import command_line, convert, explaining_commas, sample_arguments, usage
from .asking import why_not
from .catalogue import Entry, describe_type, entries, find_workflow
from .lanes import fullest, is_said_by, same_lane, to_be_named
from .runs import Run, execute, find_run, new_run

__all__ = [
    "Entry",
    "Run",
    "command_line",
    "convert",
    "describe_type",
    "entries",
    "execute",
    "explaining_commas",
    "find_run",
    "find_workflow",
    "fullest",
    "is_said_by",
    "new_run",
    "same_lane",
    "sample_arguments",
    "to_be_named",
    "usage",
    "why_not",
]
