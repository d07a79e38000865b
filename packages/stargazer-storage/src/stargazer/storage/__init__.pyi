from ._add import Fields, add, additions_of, check_links, field_text
from .additions import Addition, check_files, check_metadata
from .checking import Known, Lookup, checked_one_by_one
from .cid import compute_cid, is_cid
from .client import LocalStorageClient, StoreClient, get_client
from .doubts import holds_files
from .downloading import fetch_file, file_name
from .filenames import names_of_mates
from .files import hash_in_place, make_folder, make_folders, open_shared
from .ledger.documents import account, now
from .pinata.client import PinataClient
from .recompute import makers, makes
from .refusals import refused
from .settings import VARIABLES, Settings
from .store import Store, open_store
from .threads import in_thread
from .workspaces import new_lock, private_folder

__all__ = [
    "VARIABLES",
    "Addition",
    "Fields",
    "Known",
    "LocalStorageClient",
    "Lookup",
    "PinataClient",
    "Settings",
    "Store",
    "StoreClient",
    "account",
    "add",
    "additions_of",
    "check_files",
    "check_links",
    "check_metadata",
    "checked_one_by_one",
    "compute_cid",
    "fetch_file",
    "field_text",
    "file_name",
    "get_client",
    "hash_in_place",
    "holds_files",
    "in_thread",
    "is_cid",
    "make_folder",
    "make_folders",
    "makers",
    "makes",
    "names_of_mates",
    "new_lock",
    "now",
    "open_shared",
    "open_store",
    "private_folder",
    "refused",
]
