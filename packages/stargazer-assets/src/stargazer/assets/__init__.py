"""Typed assets: what a file is, how it is found, and how it came to be. Knows no storage."""

from __future__ import annotations

from stargazer.assets import catalogue
from stargazer.assets.asset import REGISTRY, Asset, asset, asset_class, record_id
from stargazer.assets.catalogue import *  # noqa: F403
from stargazer.assets.client import IpFile, StorageClient, current_client, use_client
from stargazer.assets.errors import *  # noqa: F403
from stargazer.assets.errors import __all__ as _errors
from stargazer.assets.fetching import fetch
from stargazer.assets.links import Companion, Derived
from stargazer.assets.query import assemble

__all__ = [
    "REGISTRY",
    "Asset",
    "Companion",
    "Derived",
    "IpFile",
    "StorageClient",
    "assemble",
    "asset",
    "asset_class",
    "current_client",
    "fetch",
    "record_id",
    "use_client",
]
__all__ += catalogue.__all__
__all__ += _errors
