from ._fetch import Failure, Fetched, News, fetch
from ._make import Made, make, with_lineage
from ._verify import Checked, verify
from .find import BuiltinBundle, Bundle, find_bundle, known_bundles, remember_bundle
from .manifest import SUFFIX, Environment, Manifest, check_name, differences, environment_here, requirements

__all__ = [
    "SUFFIX",
    "BuiltinBundle",
    "Bundle",
    "Checked",
    "Environment",
    "Failure",
    "Fetched",
    "Made",
    "Manifest",
    "News",
    "check_name",
    "differences",
    "environment_here",
    "fetch",
    "find_bundle",
    "known_bundles",
    "make",
    "remember_bundle",
    "requirements",
    "verify",
    "with_lineage",
]
