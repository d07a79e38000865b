from ._add import add, additions_of, additions_of_each, check_pairs, field_text, fields_in
from .additions import Addition, check_files, check_metadata
from .amendments import amend_records
from .changes import amend, reinstate, retract, supersede, trust
from .checks import Known, Lookup, checked_one_by_one
from .cid import compute_cid, is_cid
from .client import LocalStorageClient, PinataClient, StoreClient, get_client
from .companions import with_companions
from .copies import check_results, export, export_results
from .doubts import holds_files
from .download.fetch import fetch_file
from .download.reach import Reach
from .download.sources import file_name
from .filenames import (
    UnknownNameError,
    companion_type,
    folder_parts,
    guess_type,
    mates,
    names_of_mates,
    primaries,
)
from .files import hash_in_place, make_folder, make_folders, open_shared
from .folders import packed, write_tar
from .index.words import known_keys, known_values
from .ledger.documents import account, now
from .locks import is_at, is_locked, new_lock, private_folder, try_lock
from .networks import visibility
from .outbox import Sent
from .recompute import makers, makes
from .refusals import refused
from .search import computed_pairs, find_page, find_records, is_computed, type_counts
from .settings import VARIABLES, Settings
from .store import Order, Store, open_store
from .threads import check_interrupted, each, in_thread, pause

__all__ = [
    "VARIABLES",
    "Addition",
    "Known",
    "LocalStorageClient",
    "Lookup",
    "Order",
    "PinataClient",
    "Reach",
    "Sent",
    "Settings",
    "Store",
    "StoreClient",
    "UnknownNameError",
    "account",
    "add",
    "additions_of",
    "additions_of_each",
    "amend",
    "amend_records",
    "check_files",
    "check_interrupted",
    "check_metadata",
    "check_pairs",
    "check_results",
    "checked_one_by_one",
    "companion_type",
    "compute_cid",
    "computed_pairs",
    "each",
    "export",
    "export_results",
    "fetch_file",
    "field_text",
    "fields_in",
    "file_name",
    "find_page",
    "find_records",
    "folder_parts",
    "get_client",
    "guess_type",
    "hash_in_place",
    "holds_files",
    "in_thread",
    "is_at",
    "is_cid",
    "is_computed",
    "is_locked",
    "known_keys",
    "known_values",
    "make_folder",
    "make_folders",
    "makers",
    "makes",
    "mates",
    "names_of_mates",
    "new_lock",
    "now",
    "open_shared",
    "open_store",
    "packed",
    "pause",
    "primaries",
    "private_folder",
    "refused",
    "reinstate",
    "retract",
    "supersede",
    "trust",
    "try_lock",
    "type_counts",
    "visibility",
    "with_companions",
    "write_tar",
]
