"""The Flyte endpoint: what the project's own .flyte/config.yaml names, and what else counts when cloud is asked for."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import ConfigurationError

__all__ = ["EXAMPLE", "Endpoint", "asked_endpoint", "project_config", "project_endpoint"]

EXAMPLE = """\
admin:
  endpoint: dns:///your-organisation.hosted.unionai.cloud
task:
  project: flytesnacks
  domain: development
"""
"""A .flyte/config.yaml that names an endpoint."""

_CONFIG = Path(".flyte") / "config.yaml"
_POINTERS = ("UCTL_CONFIG", "FLYTECTL_CONFIG")
"""Flyte's variables that name a configuration file, in Flyte's order."""


@attrs.frozen
class Endpoint:
    """Where Flyte runs tasks.

    Attributes:
        address: as it is written; without user and password.
        origin: the file or variable that says so.
        file: what Flyte is initialised from; None for an API key, and in a task's pod.
    """

    address: str
    origin: str
    file: Path | None = None


def project_config(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The project's own .flyte/config.yaml: in a folder (the current one), else in the root of its git repository.

    That of HOME belongs to a person, not to a project, also when HOME is the folder or a repository. As for git, a
    repository of somebody else does not count: who can write to a folder above could name an endpoint.
    """
    try:
        here = Path(os.path.abspath(folder or os.getcwd()))
    except OSError:  # the current folder was removed, or cannot be entered
        return None
    root = next((place for place in (here, *here.parents) if _exists(place / ".git")), None)
    places = [here] if root is None or not _ours(root / ".git") else [here, root]
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    for place in places:
        if _exists(place / _CONFIG) and not _same(place, home):
            return place / _CONFIG
    return None


def project_endpoint(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Endpoint | None:
    """The endpoint that the project's own file names; FLYTE_ADMIN_ENDPOINT replaces it, as everywhere in Flyte.

    Raises:
        ConfigurationError: the file cannot be read, or is no configuration of Flyte.
    """
    file = project_config(folder, environ)
    return None if file is None else _endpoint_of(file, environ)


def asked_endpoint(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Endpoint | None:
    """The endpoint where cloud is asked for: the project's, else that of Flyte's own variables.

    These are UCTL_CONFIG and FLYTECTL_CONFIG (files), FLYTE_API_KEY, and what Flyte sets in the pod of a task. Files
    of HOME, and a config.yaml that lies in the current folder, do not count: they may be anything's.

    Raises:
        ConfigurationError: a file cannot be read, or is no configuration of Flyte.
    """
    if found := project_endpoint(folder, environ):
        return found
    for variable in _POINTERS:
        if path := environ.get(variable):
            file = Path(os.path.abspath(os.path.expanduser(path)))
            if found := _endpoint_of(file, environ):
                return attrs.evolve(found, origin=f"{variable} ({str(file)!r})")
    if key := environ.get("FLYTE_API_KEY"):
        return Endpoint(_address_of_key(key), "FLYTE_API_KEY")
    if address := environ.get("_U_EP_OVERRIDE"):
        return Endpoint(_public(address), "the pod of this task")
    return None


def _endpoint_of(file: Path, environ: Mapping[str, str]) -> Endpoint | None:
    named = _named_in(file)
    if not named:
        return None
    if instead := environ.get("FLYTE_ADMIN_ENDPOINT"):
        return Endpoint(_public(instead), f"FLYTE_ADMIN_ENDPOINT (instead of that in {str(file)!r})", file)
    return Endpoint(_public(named), repr(str(file)), file)


def _named_in(file: Path) -> str:
    """`admin.endpoint` of a configuration of Flyte; empty if it has none."""
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"Flyte's configuration {str(file)!r} cannot be read: {error.strerror}; {_REMEDY}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(
            f"Flyte's configuration {str(file)!r} is not YAML{where}; {_REMEDY}"
        ) from None
    for level in ("the file", "admin"):
        if content is None:
            return ""
        if not isinstance(content, dict):
            raise ConfigurationError(
                f"Flyte's configuration {str(file)!r}: {level} holds {type(content).__name__}, "
                f"expected keys and values; {_REMEDY}"
            )
        content = content.get("admin" if level == "the file" else "endpoint")
    if content is None:
        return ""
    if not isinstance(content, str) or (content and not content.strip()) or not content.isprintable():
        raise ConfigurationError(
            f"Flyte's configuration {str(file)!r}: admin.endpoint is {type(content).__name__}, "
            f"expected an address such as 'dns:///flyte.example.org'; {_REMEDY}"
        )
    return content.strip()


_REMEDY = "correct the file, or set STARGAZER_MODE=local to run here without it"


def _address_of_key(key: str) -> str:
    """The endpoint within an API key (`endpoint:client:secret:organisation` in base 64), and nothing else of it."""
    try:
        address, *rest = base64.b64decode(key).decode().split(":", 3)
    except ValueError:
        address, rest = "", []
    if len(rest) < 3 or not address:
        raise ConfigurationError(
            "FLYTE_API_KEY is no API key of Flyte: copy it again, whole, from who gave it"
        )
    return _public(address)


def _public(address: str) -> str:
    """An address without user and password."""
    scheme, slashes, rest = address.rpartition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
