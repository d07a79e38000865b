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
import contextlib
import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

import attrs
from stargazer.assets import ConfigurationError
from stargazer.assets.addresses import is_address, without_secrets
from stargazer.storage.refusals import reason

__all__ = ["EXAMPLE", "PUBLIC_GATEWAY", "VARIABLES", "Settings", "available_cores", "available_memory",
           "project_config"]  # fmt: skip

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
_HIDDEN = "***"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1", re.ASCII)


def available_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory: the machine's, or the container's if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in (
        "memory.max",
        "memory/memory.limit_in_bytes",
    ):  # cgroup v2 and v1, as a container sees its own
        with contextlib.suppress(OSError, ValueError):  # no such limit
            limits.append(int((cgroup / name).read_text()))
    return min(limits)


# what makes the value of a setting: of the text of a variable, or of a value of config.toml. ValueError says what that
# is instead: "8X, expected a size". What is secret is in no message.


def _choice(allowed: tuple[str, ...], value: str) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r}, expected {' or '.join(allowed)}")
    return value


def _folder(value: str) -> Path:
    if is_address(value):
        raise ValueError(f"{value!r}, a URL: expected a folder of this machine")
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{value!r}: {error}; give an absolute path") from None


def _count(value: object) -> int:
    text = str(value).strip()
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ValueError(f"{value!r}, expected a whole number above 0")
    return int(text)


def _bytes(value: object) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    size = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if size < 1:
        raise ValueError(f"{value!r}, expected a size such as 8G, or bytes")
    return size


def _secret(value: str) -> str:
    """A token that can stand in a header: one word; the blanks and line ends of copying are no part of it."""
    token = value.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("no token: expected one word; copy it again, whole")
    return token


def _gateway(value: str) -> str:
    """A host (`mine.mypinata.cloud`) or the URL of one; paths are those of IPFS, made where they are asked for."""
    text = value.strip()
    expected = f"{_shown(value)}, expected a host such as mine.mypinata.cloud, or its URL"
    path = _path_of(text if "://" in text else f"https://{text}", expected)
    if path not in ("", "/"):
        raise ValueError(f"{expected} without the path {path!r}")
    return text.rstrip("/")


def _service(value: str) -> str:
    """The URL of a service that is sent the token."""
    text = value.strip()
    _path_of(text, f"{_shown(value)}, expected a URL")
    if _is_readable(text):
        raise ValueError(
            f"{_shown(value)}, which is sent the token in the clear: expected https:// "
            "(http:// is for servers on this machine)"
        )
    return text.rstrip("/")


def _repository(value: str) -> str:
    """The URL of a Maven repository, or of a folder that is laid out as one; it may hold a user and a password."""
    text, shown = value.strip().rstrip("/"), repr(without_secrets(value.strip()))
    expected = f"{shown}, expected the URL of a Maven repository, or file:///FOLDER"
    try:
        parts = urlsplit(text)
        host, password, _ = parts.hostname or "", parts.password, parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.query or parts.fragment or not text.isprintable():
        raise ValueError(f"{expected}, without query and fragment")
    if parts.scheme == "file" and host in ("", "localhost") and parts.path.startswith("/"):
        return text
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or " " in text:
        raise ValueError(expected)
    if password is not None and _is_readable(text):
        raise ValueError(f"{shown} with a password, which is sent in the clear: expected https://")
    return text


def _path_of(url: str, refusal: str) -> str:
    """The path of a URL, which is refused if it is malformed or holds something secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(refusal) from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            f"{refusal} without user, password, query and fragment: a token of the gateway belongs to "
            "PINATA_GATEWAY_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or not url.isprintable():
        raise ValueError(refusal)
    return parts.path


def _shown(value: str) -> str:
    """A URL in a message; one that may hold a password or a token is not shown."""
    return repr(_HIDDEN if "@" in value or "?" in value or "#" in value else value)


def _is_readable(url: str) -> bool:
    """Whether others on the way read what a URL is sent: it is not encrypted, and leads to another machine."""
    return url.lower().startswith("http://") and not _LOOPBACK.fullmatch(urlsplit(url).hostname or "")


_SETTINGS: dict[str, tuple[str, Callable[[Any], object]]] = {
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
    "maven": ("STARGAZER_MAVEN", _repository),
}
VARIABLES = {name: variable for name, (variable, _) in _SETTINGS.items()}
"""The environment's variable of each setting."""


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
        maven: URL of the Maven repository that jars of tools are downloaded from; empty for Maven Central.
        flyte_endpoint: where tasks run in cloud mode; empty in local mode.
        flyte_config: the file that Flyte is initialised from in cloud mode; None where a variable says it all.
        mode_reason: why the mode is what it is, for people.
        origins: where each setting comes from: a variable, a file, or `default`.
    """

    mode: Mode = "local"
    home: Path
    local: Path = attrs.field(default=attrs.Factory(lambda self: self.home / "local", takes_self=True))
    index: Path | None = None
    cores: int = attrs.field(factory=available_cores)
    memory: int = attrs.field(factory=lambda: available_memory() * 9 // 10)
    pinata_jwt: str = attrs.field(default="", repr=_hidden)
    pinata_gateway: str = PUBLIC_GATEWAY
    pinata_gateway_token: str = attrs.field(default="", repr=_hidden)
    pinata_visibility: Visibility = "private"
    pinata_api: str = "https://api.pinata.cloud"
    pinata_uploads: str = "https://uploads.pinata.cloud"
    maven: str = attrs.field(default="", repr=lambda url: repr(without_secrets(url)))
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
        home = _parse("home", environ.get("STARGAZER_HOME") or "~/.stargazer", "STARGAZER_HOME")
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
        gateway = values.get("pinata_gateway", "")
        if values.get("pinata_gateway_token") and _is_readable(gateway):
            raise ConfigurationError(
                f"{origins['pinata_gateway']} is {gateway!r}, which is sent the token of "
                f"{origins['pinata_gateway_token']} in the clear: use https://, or unset the token"
            )
        said_by = f"mode in {str(path)!r}" if origins["mode"] == str(path) else "STARGAZER_MODE"
        endpoint, why = _decide(values.get("mode"), said_by, environ, folder)
        if "mode" not in values:
            values["mode"] = "cloud" if endpoint else "local"
            origins["mode"] = str(endpoint.file) if endpoint else "default"
        return cls(
            **values | {"home": home},
            flyte_endpoint=endpoint.address if endpoint else "",
            flyte_config=endpoint.file if endpoint else None,
            mode_reason=why,
            origins=origins,
        )

    @property
    def gateway_url(self) -> str:
        """The gateway as a URL without a slash at its end."""
        return self.pinata_gateway if "://" in self.pinata_gateway else f"https://{self.pinata_gateway}"

    def shown(self, name: str) -> str:
        """The value of a setting for people: whether a secret is set, and not what it is."""
        value = getattr(self, name)
        if _SETTINGS[name][1] is _secret:
            return "set" if value else "not set"
        if name == "maven":
            return without_secrets(value) or "Maven Central"
        if name == "memory":
            return f"{value / 1e9:.1f} GB"
        return "not set" if value is None else str(value)


def _read(path: Path) -> dict[str, Any]:
    """The configuration file; nothing if there is none."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{str(path)!r} is not TOML: expected text in UTF-8") from None
    import tomllib  # here: most have no such file, and every command would wait for it

    try:
        values = tomllib.loads(text)
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
    _, parse = _SETTINGS[name]
    try:
        if parse not in (_count, _bytes) and not isinstance(value, str):
            raise ValueError(f"{_HIDDEN if parse is _secret else value!r}, expected text in quotes")
        return parse(value)
    except ValueError as error:
        raise ConfigurationError(f"{source} is {error}") from None


# where tasks run


@attrs.frozen
class _Endpoint:
    """Where tasks run in cloud mode, and what says so."""

    address: str  # of the Flyte cluster, as it is written, without user and password
    origin: str  # the file or variable that names it
    file: Path | None = None  # what Flyte is initialised from; None for an API key, and in a task's pod


def _decide(
    mode: Mode | None, said_by: str, environ: Mapping[str, str], folder: Path | None
) -> tuple[_Endpoint | None, str]:
    """Where tasks run, None for this machine, and why.

    As `mode` is set by `said_by`; unset, at the endpoint of the project's own .flyte/config.yaml; else here.

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
    said = f"{said_by} is {mode!r}" if mode else "STARGAZER_MODE is not set"
    if mode == "local":
        return None, said + (f"; the endpoint {found.address} of {found.origin} is not used" if found else "")
    if mode and not found:
        found = _set_endpoint(environ)
        if not found:
            raise ConfigurationError(
                f"{said}, but nothing names a Flyte endpoint. Write it to .flyte/config.yaml in the current folder or "
                f"in the root of its git repository:\n\n{EXAMPLE}\n"
                "or set FLYTE_API_KEY; or set STARGAZER_MODE=local to run here. "
                "(A file in HOME, or another config.yaml, does not count.)"
            )
    if not found:
        return None, f"{said}, and no .flyte/config.yaml of this project names an endpoint"
    return found, f"{said}, and {found.origin} names the endpoint {found.address}"


def project_config(folder: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The project's own .flyte/config.yaml: in a folder (the current one), else in the root of its git repository.

    That of HOME belongs to a person, not to a project, also when HOME is the folder or a repository. As for git, a
    repository of somebody else does not count: who can write to a folder above could name an endpoint.
    """
    try:
        here = Path(os.path.abspath(folder or os.getcwd()))
    except OSError:  # the current folder was removed, or cannot be entered
        return None
    places = [here]
    for place in (here, *here.parents):
        with contextlib.suppress(OSError):  # no repository
            if (place / ".git").lstat().st_uid == os.geteuid():
                places.append(place)
            break
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    for place in places:
        if os.path.lexists(place / _CONFIG) and not (home.exists() and home.samefile(place)):
            return place / _CONFIG
    return None


def _set_endpoint(environ: Mapping[str, str]) -> _Endpoint | None:
    """The endpoint of Flyte's own variables, where cloud is asked for and the project has none.

    They are UCTL_CONFIG and FLYTECTL_CONFIG (files), FLYTE_API_KEY, and what Flyte sets in the pod of a task. Files
    of HOME, and a config.yaml that lies in the current folder, do not count: they may be anything's.
    """
    for variable in ("UCTL_CONFIG", "FLYTECTL_CONFIG"):  # in Flyte's order
        if path := environ.get(variable):
            file = Path(os.path.abspath(os.path.expanduser(path)))
            if found := _endpoint_of(file, environ):
                return attrs.evolve(found, origin=f"{variable} ({str(file)!r})")
    if key := environ.get("FLYTE_API_KEY"):
        # endpoint:client:secret:organisation in base 64, of which nothing else is kept
        try:
            named, _, _, _ = base64.b64decode(key).decode().split(":", 3)
        except ValueError:
            named = ""
        if not named:
            raise ConfigurationError(
                "FLYTE_API_KEY is no API key of Flyte: copy it again, whole, from who gave it"
            )
        return _Endpoint(_public(named), "FLYTE_API_KEY")
    if address := environ.get("_U_EP_OVERRIDE"):
        return _Endpoint(_public(address), "the pod of this task")
    return None


def _endpoint_of(file: Path, environ: Mapping[str, str]) -> _Endpoint | None:
    """`admin.endpoint` of a configuration of Flyte, if it has one; FLYTE_ADMIN_ENDPOINT replaces it, as everywhere."""
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise _damaged(file, f" cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise _damaged(file, " is not YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    for level, key in (("the file", "admin"), ("admin", "endpoint")):
        if content is not None and not isinstance(content, dict):
            raise _damaged(file, f": {level} holds {type(content).__name__}, expected keys and values")
        content = (content or {}).get(key)
    if content in (None, ""):
        return None
    if not isinstance(content, str) or not content.strip() or not content.isprintable():
        expected = "expected an address such as 'dns:///flyte.example.org'"
        raise _damaged(file, f": admin.endpoint is {type(content).__name__}, {expected}")
    if instead := environ.get("FLYTE_ADMIN_ENDPOINT"):
        return _Endpoint(_public(instead), f"FLYTE_ADMIN_ENDPOINT (instead of that in {str(file)!r})", file)
    return _Endpoint(_public(content.strip()), repr(str(file)), file)


def _damaged(file: Path, what: str) -> ConfigurationError:
    remedy = "correct the file, or set STARGAZER_MODE=local to run here without it"
    return ConfigurationError(f"Flyte's configuration {str(file)!r}{what}; {remedy}")


def _public(address: str) -> str:
    """An address without user and password."""
    scheme, slashes, rest = address.rpartition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
