from ._progress import progress, run_controls, watched
from ._upload import upload
from .app import explained, html_page, plain, plain_table, shown, stop
from .app_environment import marimo_env
from .asset_record import (
    amend_form,
    amend_record,
    delete_question,
    delete_record,
    download_button,
    evict_question,
    evict_record,
    record_facts,
)
from .asset_table import asset_table
from .calls import GENOTYPES, TYPES, Calls, contig_counts, contig_names, read_calls
from .cells import (
    COLOURS,
    QC_FIGURES,
    Cells,
    cluster_counts,
    draw_umap,
    markers_of,
    open_cells,
    qc_histograms,
)
from .choices import (
    begin_run,
    caller_choices,
    cell_samples,
    cells_refusal,
    germline_refusal,
    germline_samples,
    reference_choices,
    run_choices,
)
from .figures import binned, coverage_rows, read_summary, sample_figures
from .genome import call_locus, calls_in_region, genome_browser
from .lineage import lineage_files, lineage_graph
from .needs import require_extra, require_records
from .place import execution_place
from .results import open_result, open_results
from .tables import latest_run, run_notes, run_table

__all__ = [
    "COLOURS",
    "GENOTYPES",
    "QC_FIGURES",
    "TYPES",
    "Calls",
    "Cells",
    "amend_form",
    "amend_record",
    "asset_table",
    "begin_run",
    "binned",
    "call_locus",
    "caller_choices",
    "calls_in_region",
    "cell_samples",
    "cells_refusal",
    "cluster_counts",
    "contig_counts",
    "contig_names",
    "coverage_rows",
    "delete_question",
    "delete_record",
    "download_button",
    "draw_umap",
    "evict_question",
    "evict_record",
    "execution_place",
    "explained",
    "genome_browser",
    "germline_refusal",
    "germline_samples",
    "html_page",
    "latest_run",
    "lineage_files",
    "lineage_graph",
    "marimo_env",
    "markers_of",
    "open_cells",
    "open_result",
    "open_results",
    "plain",
    "plain_table",
    "progress",
    "qc_histograms",
    "read_calls",
    "read_summary",
    "record_facts",
    "reference_choices",
    "require_extra",
    "require_records",
    "run_choices",
    "run_controls",
    "run_notes",
    "run_table",
    "sample_figures",
    "shown",
    "stop",
    "upload",
    "watched",
]
