from ._add import Fields, add, additions_of, check_pairs, field_text
from .additions import Addition, check_files, check_metadata
from .checking import Known, Lookup, checked_one_by_one
from .cid import compute_cid, is_cid
from .client import get_client
from .companions import with_companions
from .doubts import doubt, holds_files
from .download.fetch import fetch_file
from .download.sources import file_name
from .filenames import names_of_mates
from .files import hash_in_place, make_folder, make_folders, open_shared
from .local import LocalStorageClient, StoreClient
from .locks import is_locked, new_lock, private_folder, try_lock
from .pinata.client import PinataClient
from .reading import StoreReader
from .refusals import refused
from .remaking import makers, makes
from .settings import VARIABLES, Settings
from .store import LocalStore, account, now
from .threads import in_thread

__all__ = [
    "VARIABLES",
    "Addition",
    "Fields",
    "Known",
    "LocalStorageClient",
    "LocalStore",
    "Lookup",
    "PinataClient",
    "Settings",
    "StoreClient",
    "StoreReader",
    "account",
    "add",
    "additions_of",
    "check_files",
    "check_metadata",
    "check_pairs",
    "checked_one_by_one",
    "compute_cid",
    "doubt",
    "fetch_file",
    "field_text",
    "file_name",
    "get_client",
    "hash_in_place",
    "holds_files",
    "in_thread",
    "is_cid",
    "is_locked",
    "make_folder",
    "make_folders",
    "makers",
    "makes",
    "names_of_mates",
    "new_lock",
    "now",
    "open_shared",
    "private_folder",
    "refused",
    "try_lock",
    "with_companions",
]
