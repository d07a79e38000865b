"""The errors of Stargazer: what was wrong with which input, what was expected, and what to do next."""

from __future__ import annotations

from stargazer.assets.addresses import hidden

__all__ = ["AmbiguousAssetError", "AssetNotFoundError", "ConfigurationError", "FormatError",
           "IntegrityError", "InvalidAssetError", "NoClientError", "StargazerError", "StorageError",
           "ToolError"]  # fmt: skip


class StargazerError(Exception):
    """Base of every error meant for the user: its text is complete, a traceback adds nothing.

    Whatever URL somebody gave, it shows neither user, password nor query of it.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(hidden(arg) if isinstance(arg, str) else arg for arg in args))

    def explain(self) -> str:
        """The text, and where it happened as far as that was noted."""
        return hidden("\n".join([str(self), *getattr(self, "__notes__", ())]))


class InvalidAssetError(StargazerError, ValueError):
    """An asset or its metadata breaks a rule: unknown type or key, value out of range, reserved key."""


class FormatError(InvalidAssetError):
    """A file does not hold what its asset type says: not FASTQ, truncated, empty."""


class AssetNotFoundError(StargazerError, LookupError):
    """No record answers the filters."""


class AmbiguousAssetError(StargazerError, LookupError):
    """Several records answer where exactly one is needed."""


class NoClientError(StargazerError, RuntimeError):
    """No storage client: none was given, none is in context, and no installed distribution provides one."""


class ConfigurationError(StargazerError, ValueError):
    """A setting is missing, malformed, or asks for something not available."""


class StorageError(StargazerError, OSError):
    """The store cannot do what was asked: read-only, full, damaged, or of a newer version."""


class IntegrityError(StorageError):
    """Bytes are not what their CID says."""


class ToolError(StargazerError, RuntimeError):
    """An external program is missing, failed, died by a signal, or wrote nothing."""
