from .capsules import with_lineage
from .environment import differences, environment_here, requirements
from .fetching import News, fetch_bundle
from .finding import BuiltinBundle, Bundle, find_bundle, known_bundles, remember_made
from .making import make_bundle
from .manifest import SUFFIX, check_name
from .verifying import Checked, is_folder_bundle, verify_folder, verify_store

__all__ = [
    "SUFFIX",
    "BuiltinBundle",
    "Bundle",
    "Checked",
    "News",
    "check_name",
    "differences",
    "environment_here",
    "fetch_bundle",
    "find_bundle",
    "is_folder_bundle",
    "known_bundles",
    "make_bundle",
    "remember_made",
    "requirements",
    "verify_folder",
    "verify_store",
    "with_lineage",
]
