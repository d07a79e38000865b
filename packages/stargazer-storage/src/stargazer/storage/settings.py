"""Stargazer's settings, and whether tasks run on this machine (local mode) or on a Flyte cluster (cloud mode).

Settings are read from environment variables, then from the configuration file, else they have defaults.

The file is `config.toml` in STARGAZER_HOME and holds the same names, in lower case, without the prefix `STARGAZER_`:

    mode = "local"
    local = "/data/stargazer"
    cores = 8
    memory = "24G"
"""

from __future__ import annotations

import base64
import functools
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

import attrs
from stargazer.assets import ConfigurationError
from stargazer.assets.addresses import is_address
from stargazer.storage.refusals import REASONS

__all__ = [
    "EXAMPLE",
    "PUBLIC_GATEWAY",
    "VARIABLES",
    "Settings",
    "available_cores",
    "available_memory",
    "project_config",
]

Mode = Literal["local", "cloud"]

Visibility = Literal["private", "public"]

PUBLIC_GATEWAY = "gateway.pinata.cloud"
"""The gateway where none is set: anybody's, for public files only."""

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

_SECRETS = frozenset({"pinata_jwt", "pinata_gateway_token"})
"""Settings that are in no message, log or provenance, and in no tool's environment."""

_HIDDEN = "***"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1", re.ASCII)


def available_cores() -> int:
    """Processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory: the machine's, or the container's if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in (
        "memory.max",
        "memory/memory.limit_in_bytes",
    ):  # cgroup v2 and v1, as a container sees its own
        try:
            limits.append(int((cgroup / name).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return min(limits)


def _hidden(secret: str) -> str:
    return repr(_HIDDEN if secret else "")


@attrs.frozen(kw_only=True)
class Settings:
    """Where things are kept, where tasks run, and how much of the machine may be used.

    Attributes:
        mode: `local` or `cloud`: where Flyte runs tasks.
        home: folder of runs, tools, slots and caches.
        local: folder of the store; with Pinata also the verified cache of what was downloaded.
        index: folder of the store's index, where it is not beside the objects.
        cores: processor cores that all tasks on this machine share; those of the machine by default.
        memory: bytes of memory that all tasks share; nine tenths of the machine's by default.
        pinata_jwt: secret; never printed, never passed on to tools.
        pinata_gateway: host or URL of the gateway for public files.
        pinata_gateway_token: secret; sent to that gateway only.
        pinata_visibility: of what is added and pushed.
        pinata_api: URL of Pinata's API, for proxies and test servers.
        pinata_uploads: URL that files are uploaded to, for proxies and test servers.
        flyte_endpoint: where tasks run in cloud mode; empty in local mode.
        flyte_config: the file that Flyte is initialised from in cloud mode; None where a variable says it all.
        mode_reason: why the mode is what it is, for people.
        origins: where each setting comes from: a variable, a file, or `default`.
    """

    mode: Mode = "local"
    home: Path
    local: Path
    index: Path | None = None
    cores: int
    memory: int
    pinata_jwt: str = attrs.field(default="", repr=_hidden)
    pinata_gateway: str = PUBLIC_GATEWAY
    pinata_gateway_token: str = attrs.field(default="", repr=_hidden)
    pinata_visibility: Visibility = "private"
    pinata_api: str = "https://api.pinata.cloud"
    pinata_uploads: str = "https://uploads.pinata.cloud"
    flyte_endpoint: str = attrs.field(default="", eq=False)
    flyte_config: Path | None = attrs.field(default=None, eq=False)
    mode_reason: str = attrs.field(default="", eq=False)
    origins: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> Self:
        """The settings in force; a variable that is empty counts as unset.

        Args:
            environ: the variables.
            folder: where to look for the project's .flyte/config.yaml; the current folder by default.

        Raises:
            ConfigurationError: a file cannot be read, or a value is not allowed; the message names variable or key.
                Cloud without an endpoint is one of these.
        """
        home: Path = _parse("home", environ.get("STARGAZER_HOME") or "~/.stargazer", "STARGAZER_HOME")
        path = home / "config.toml"
        file = _read(path)
        values: dict[str, Any] = {}
        origins = dict.fromkeys(VARIABLES, "default")
        for name, variable in VARIABLES.items():
            if environ.get(variable):
                origins[name] = variable
                values[name] = _parse(name, environ[variable], variable)
            elif name in file:
                origins[name] = str(path)
                values[name] = _parse(name, file[name], f"{name} in {str(path)!r}")
        _keep_token_safe(values, origins)
        values["home"] = home
        values.setdefault("local", home / "local")
        values.setdefault("cores", available_cores())
        values.setdefault("memory", available_memory() * 9 // 10)
        said_by = f"mode in {str(path)!r}" if origins["mode"] == str(path) else "STARGAZER_MODE"
        mode, reason, endpoint = _decide(values.get("mode"), said_by, environ, folder)
        if "mode" not in values:
            values["mode"], origins["mode"] = mode, str(endpoint.file or "default")
        return cls(
            **values,
            flyte_endpoint=endpoint.address,
            flyte_config=endpoint.file,
            mode_reason=reason,
            origins=origins,
        )

    @property
    def gateway_url(self) -> str:
        """The gateway as a URL without a slash at its end."""
        return self.pinata_gateway if "://" in self.pinata_gateway else f"https://{self.pinata_gateway}"

    def shown(self, name: str) -> str:
        """The value of a setting for people: whether a secret is set, and not what it is."""
        value = getattr(self, name)
        if name in _SECRETS:
            return "set" if value else "not set"
        if name == "memory":
            return f"{value / 1e9:.1f} GB"
        return "not set" if value is None else str(value)


@attrs.frozen
class _Endpoint:
    """Where tasks run in cloud mode.

    Attributes:
        address: of the Flyte cluster, as it is written, without user and password; empty in local mode.
        origin: the file or variable that names it.
        file: what Flyte is initialised from; None for an API key, and in a task's pod.
    """

    address: str = ""
    origin: str = ""
    file: Path | None = None


def _decide(
    mode: Mode | None, said_by: str, environ: Mapping[str, str], folder: Path | None
) -> tuple[Mode, str, _Endpoint]:
    """The mode in force, and why: as set by `said_by`; unset, that of the project's own .flyte/config.yaml; else local.

    Raises:
        ConfigurationError: cloud is asked for and there is no endpoint; or the file that decides is damaged.
    """
    file = project_config(folder, environ)
    try:
        found = _endpoint_of(file, environ) if file else None
    except ConfigurationError:
        if mode != "local":
            raise
        found = None  # local mode does not use the file: that it is damaged does not matter
    if mode == "local":
        unused = f"; the endpoint {found.address} of {found.origin} is not used" if found else ""
        return "local", f"{said_by} is 'local'{unused}", _Endpoint()
    if mode == "cloud":
        found = found or _set_endpoint(environ)
        if found is None:
            raise ConfigurationError(
                f"{said_by} is 'cloud', but nothing names a Flyte endpoint. Write it to .flyte/config.yaml in the "
                f"current folder or in the root of its git repository:\n\n{EXAMPLE}\n"
                "or set FLYTE_API_KEY; or set STARGAZER_MODE=local to run here. "
                "(A file in HOME, or another config.yaml, does not count.)"
            )
        reason = f"{said_by} is 'cloud'; the endpoint {found.address} is that of {found.origin}"
        return "cloud", reason, found
    if found is None:
        reason = "STARGAZER_MODE is not set, and no .flyte/config.yaml of this project names an endpoint"
        return "local", reason, _Endpoint()
    return "cloud", f"STARGAZER_MODE is not set, and {found.origin} names the endpoint {found.address}", found


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


def _set_endpoint(environ: Mapping[str, str]) -> _Endpoint | None:
    """The endpoint of Flyte's own variables, where cloud is asked for and the project has none.

    They are UCTL_CONFIG and FLYTECTL_CONFIG (files), FLYTE_API_KEY, and what Flyte sets in the pod of a task. Files
    of HOME, and a config.yaml that lies in the current folder, do not count: they may be anything's.
    """
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


def _keep_token_safe(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    gateway = values.get("pinata_gateway", "")
    if values.get("pinata_gateway_token") and gateway.lower().startswith("http://") and not _is_here(gateway):
        raise ConfigurationError(
            f"{origins['pinata_gateway']} is {gateway!r}, which is sent the token of "
            f"{origins['pinata_gateway_token']} in the clear: use https://, or unset the token"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
        raise ConfigurationError(f"{str(path)!r} cannot be read: {reason}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{str(path)!r} is not TOML: expected text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{str(path)!r} is not TOML: {error}") from None
    known = [name for name in VARIABLES if name != "home"]
    if "home" in values:
        raise ConfigurationError(f"home in {str(path)!r}: set the variable STARGAZER_HOME instead")
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{str(path)!r}: unknown key {name!r}; known: {', '.join(known)}")
    return values


def _parse(name: str, value: object, source: str) -> Any:
    """The value of a setting from the text of a variable or a value of config.toml; what is secret is in no message."""
    if name not in ("cores", "memory") and not isinstance(value, str):
        shown = _HIDDEN if name in _SECRETS else value
        raise ConfigurationError(f"{source} is {shown!r}, expected text in quotes")
    return _SETTINGS[name][1](value, source)


def _choice(allowed: tuple[str, ...], value: str, source: str) -> str:
    if value not in allowed:
        raise ConfigurationError(f"{source} is {value!r}, expected {' or '.join(allowed)}")
    return value


def _folder(value: str, source: str) -> Path:
    if is_address(value):
        raise ConfigurationError(f"{source} is {value!r}, a URL: expected a folder of this machine")
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise ConfigurationError(f"{source} is {value!r}: {error}; give an absolute path") from None


def _count(value: object, source: str) -> int:
    text = str(value).strip()
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a whole number above 0")
    return int(text)


def _bytes(value: object, source: str) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    size = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if size < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a size such as 8G, or bytes")
    return size


def _secret(value: str, source: str) -> str:
    """A token that can stand in a header: one word; the blanks and line ends of copying are no part of it."""
    token = value.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{source} is no token: expected one word; copy it again, whole")
    return token


def _gateway(value: str, source: str) -> str:
    """A host (`mine.mypinata.cloud`) or the URL of one; paths are those of IPFS, made where they are asked for."""
    text = value.strip()
    expected = "expected a host such as mine.mypinata.cloud, or its URL"
    path = _checked_url(text if "://" in text else f"https://{text}", source, value, expected)
    if path not in ("", "/"):
        raise ConfigurationError(f"{source} is {_shown(value)}, {expected} without the path {path!r}")
    return text.rstrip("/")


def _service(value: str, source: str) -> str:
    """The URL of a service that is sent the token."""
    text = value.strip()
    _checked_url(text, source, value, "expected a URL")
    if text.lower().startswith("http://") and not _is_here(text):
        raise ConfigurationError(
            f"{source} is {_shown(value)}, which is sent the token in the clear: expected https:// "
            "(http:// is for servers on this machine)"
        )
    return text.rstrip("/")


def _checked_url(url: str, source: str, value: str, expected: str) -> str:
    """The path of a URL, which is refused if it is malformed or holds something secret."""
    refused = f"{source} is {_shown(value)}, {expected}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(refused) from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{refused} without user, password, query and fragment: a token of the gateway belongs to "
            "PINATA_GATEWAY_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or not url.isprintable():
        raise ConfigurationError(refused)
    return parts.path


def _shown(value: str) -> str:
    """A URL in a message; one that may hold a password or a token is not shown."""
    return repr(_HIDDEN if "@" in value or "?" in value or "#" in value else value)


def _is_here(url: str) -> bool:
    """Whether a URL is that of a server on this machine."""
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


_SETTINGS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "mode": ("STARGAZER_MODE", functools.partial(_choice, get_args(Mode))),
    "home": ("STARGAZER_HOME", _folder),
    "local": ("STARGAZER_LOCAL", _folder),
    "index": ("STARGAZER_INDEX", _folder),
    "cores": ("STARGAZER_CORES", _count),
    "memory": ("STARGAZER_MEMORY", _bytes),
    "pinata_jwt": ("PINATA_JWT", _secret),
    "pinata_gateway": ("PINATA_GATEWAY", _gateway),
    "pinata_gateway_token": ("PINATA_GATEWAY_TOKEN", _secret),
    "pinata_visibility": ("PINATA_VISIBILITY", functools.partial(_choice, get_args(Visibility))),
    "pinata_api": ("PINATA_API", _service),
    "pinata_uploads": ("PINATA_UPLOADS", _service),
}
VARIABLES = {name: variable for name, (variable, _) in _SETTINGS.items()}
"""The environment's variable of each setting."""
