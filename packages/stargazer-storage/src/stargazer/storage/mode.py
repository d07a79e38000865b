"""Whether tasks run on this machine (local mode) or on a Flyte cluster (cloud mode), and at which endpoint."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from stargazer.assets import ConfigurationError

__all__ = ["EXAMPLE", "Decision", "Mode", "decide", "project_config"]

Mode = Literal["local", "cloud"]

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
class Decision:
    """Which mode, and why.

    Attributes:
        endpoint: where tasks run in cloud mode, as it is written, without user and password; empty in local mode.
        file: what Flyte is initialised from in cloud mode; None for an API key, and in a task's pod.
    """

    mode: Mode
    reason: str
    endpoint: str = ""
    file: Path | None = None


@attrs.frozen
class _Endpoint:
    """The address of a Flyte cluster, the file or variable that names it, and what Flyte is initialised from."""

    address: str
    origin: str
    file: Path | None = None


def decide(mode: Mode | None, said_by: str, environ: Mapping[str, str], folder: Path | None) -> Decision:
    """The mode in force: as set by `said_by`; unset, that of the project's own .flyte/config.yaml; else local.

    Raises:
        ConfigurationError: cloud is asked for and there is no endpoint; or the file that decides is damaged.
    """
    if mode == "cloud":
        found = _asked_endpoint(folder, environ)
        if found is None:
            raise ConfigurationError(
                f"{said_by} is 'cloud', but nothing names a Flyte endpoint. Write it to .flyte/config.yaml in the "
                f"current folder or in the root of its git repository:\n\n{EXAMPLE}\n"
                "or set FLYTE_API_KEY; or set STARGAZER_MODE=local to run here. "
                "(A file in HOME, or another config.yaml, does not count.)"
            )
        reason = f"{said_by} is 'cloud'; the endpoint {found.address} is that of {found.origin}"
        return Decision("cloud", reason, found.address, found.file)
    try:
        found = _project_endpoint(folder, environ)
    except ConfigurationError:
        if mode is None:
            raise
        found = None  # local mode does not use the file: that it is damaged does not matter
    if mode == "local":
        unused = f"; the endpoint {found.address} of {found.origin} is not used" if found else ""
        return Decision("local", f"{said_by} is 'local'{unused}")
    if found is None:
        reason = "STARGAZER_MODE is not set, and no .flyte/config.yaml of this project names an endpoint"
        return Decision("local", reason)
    reason = f"STARGAZER_MODE is not set, and {found.origin} names the endpoint {found.address}"
    return Decision("cloud", reason, found.address, found.file)


def project_config(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The project's own .flyte/config.yaml: in a folder (the current one), else in the root of its git repository.

    That of HOME belongs to a person, not to a project, also when HOME is the folder or a repository. As for git, a
    repository of somebody else does not count: who can write to a folder above could name an endpoint.
    """
    try:
        here = Path(os.path.abspath(folder or os.getcwd()))
    except OSError:  # the current folder was removed, or cannot be entered
        return None
    root = next((place for place in (here, *here.parents) if os.path.lexists(place / ".git")), None)
    places = [here] if root is None or not _is_ours(root / ".git") else [here, root]
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    for place in places:
        if os.path.lexists(place / _CONFIG) and not _is_same(place, home):
            return place / _CONFIG
    return None


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _project_endpoint(folder: Path | None, environ: Mapping[str, str]) -> _Endpoint | None:
    """The endpoint that the project's own file names."""
    file = project_config(folder, environ)
    return None if file is None else _endpoint_of(file, environ)


def _asked_endpoint(folder: Path | None, environ: Mapping[str, str]) -> _Endpoint | None:
    """The endpoint where cloud is asked for: the project's, else that of Flyte's own variables.

    These are UCTL_CONFIG and FLYTECTL_CONFIG (files), FLYTE_API_KEY, and what Flyte sets in the pod of a task. Files
    of HOME, and a config.yaml that lies in the current folder, do not count: they may be anything's.
    """
    if found := _project_endpoint(folder, environ):
        return found
    for variable in _POINTERS:
        if path := environ.get(variable):
            file = Path(os.path.abspath(os.path.expanduser(path)))
            if found := _endpoint_of(file, environ):
                return attrs.evolve(found, origin=f"{variable} ({str(file)!r})")
    if key := environ.get("FLYTE_API_KEY"):
        return _Endpoint(_address_of_key(key), "FLYTE_API_KEY")
    if address := environ.get("_U_EP_OVERRIDE"):
        return _Endpoint(_public(address), "the pod of this task")
    return None


def _endpoint_of(file: Path, environ: Mapping[str, str]) -> _Endpoint | None:
    """The endpoint that a file names; FLYTE_ADMIN_ENDPOINT replaces it, as everywhere in Flyte."""
    named = _named_in(file)
    if not named:
        return None
    if instead := environ.get("FLYTE_ADMIN_ENDPOINT"):
        return _Endpoint(_public(instead), f"FLYTE_ADMIN_ENDPOINT (instead of that in {str(file)!r})", file)
    return _Endpoint(_public(named), repr(str(file)), file)


def _named_in(file: Path) -> str:
    """`admin.endpoint` of a configuration of Flyte; empty if it has none."""
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise _damaged(file, f" cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise _damaged(file, " is not YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    for level, key in (("the file", "admin"), ("admin", "endpoint")):
        if content is None:
            return ""
        if not isinstance(content, dict):
            raise _damaged(file, f": {level} holds {type(content).__name__}, expected keys and values")
        content = content.get(key)
    if content is None:
        return ""
    if not isinstance(content, str) or (content and not content.strip()) or not content.isprintable():
        expected = "expected an address such as 'dns:///flyte.example.org'"
        raise _damaged(file, f": admin.endpoint is {type(content).__name__}, {expected}")
    return content.strip()


def _damaged(file: Path, what: str) -> ConfigurationError:
    remedy = "correct the file, or set STARGAZER_MODE=local to run here without it"
    return ConfigurationError(f"Flyte's configuration {str(file)!r}{what}; {remedy}")


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
