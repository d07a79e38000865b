"""One settings object: the environment's variables over the configuration file over the defaults.

The file is `config.toml` in STARGAZER_HOME and holds the same names, in lower case, without the prefix `STARGAZER_`:

    mode = "local"
    local = "/data/stargazer"
    cores = 8
    memory = "24G"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import attrs
from stargazer.assets.errors import ConfigurationError
from stargazer.storage.machine import available_cores, available_memory

__all__ = ["VARIABLES", "Settings"]

Mode = Literal["local", "cloud"]
Visibility = Literal["private", "public"]

VARIABLES = {
    "mode": "STARGAZER_MODE",
    "home": "STARGAZER_HOME",
    "local": "STARGAZER_LOCAL",
    "cores": "STARGAZER_CORES",
    "memory": "STARGAZER_MEMORY",
    "pinata_jwt": "PINATA_JWT",
    "pinata_gateway": "PINATA_GATEWAY",
    "pinata_visibility": "PINATA_VISIBILITY",
}
"""The environment's variable of each setting."""

_CHOICES = {"mode": get_args(Mode), "pinata_visibility": get_args(Visibility)}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_HIDDEN = "'***'"


@attrs.frozen(kw_only=True)
class Settings:
    """Where things are kept and how much of the machine may be used.

    Attributes:
        mode: `local` or `cloud`.
        home: folder of runs, tools, slots and caches.
        local: folder of the store.
        cores: processor cores that all tasks on this machine share; those of the machine by default.
        memory: bytes of memory that all tasks share; nine tenths of the machine's by default.
        pinata_jwt: secret; never printed, never passed on to tools.
        pinata_gateway: host of the gateway for public files.
        pinata_visibility: of what is added and pushed.
    """

    mode: Mode = "local"
    home: Path
    local: Path
    cores: int
    memory: int
    pinata_jwt: str = attrs.field(default="", repr=lambda jwt: _HIDDEN if jwt else "''")
    pinata_gateway: str = "gateway.pinata.cloud"
    pinata_visibility: Visibility = "private"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings in force; a variable that is empty counts as unset.

        Raises:
            ConfigurationError: the file cannot be read, or a value is not allowed; the message names variable or key.
        """
        home = _folder(environ.get("STARGAZER_HOME") or "~/.stargazer", "STARGAZER_HOME")
        path = home / "config.toml"
        file = _read(path)
        values: dict[str, Any] = {}
        for name, variable in VARIABLES.items():
            if environ.get(variable):
                values[name] = _parse(name, environ[variable], variable)
            elif name in file:
                values[name] = _parse(name, file[name], f"{name} in {str(path)!r}")
        values["home"] = home
        values.setdefault("local", home / "local")
        values.setdefault("cores", available_cores())
        values.setdefault("memory", available_memory() * 9 // 10)
        return cls(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{str(path)!r} is not TOML: expected text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{str(path)!r} is not TOML: {error}") from None
    known = [name for name in VARIABLES if name != "home"]
    for name in values:
        if name == "home":
            raise ConfigurationError(f"home in {str(path)!r}: set the variable STARGAZER_HOME instead")
        if name not in known:
            raise ConfigurationError(f"{str(path)!r}: unknown key {name!r}; known: {', '.join(known)}")
    return values


def _parse(name: str, value: object, source: str) -> Any:
    """The value of a setting; what is secret is in no message."""
    if name == "cores":
        return _count(value, source)
    if name == "memory":
        return _bytes(value, source)
    shown = _HIDDEN if name == "pinata_jwt" else repr(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{source} is {shown}, expected text in quotes")
    choices = _CHOICES.get(name, (value,))
    if value not in choices:
        raise ConfigurationError(f"{source} is {shown}, expected {' or '.join(choices)}")
    return _folder(value, source) if name in ("home", "local") else value


def _folder(value: str, source: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"{source} is {value!r}: {error}; give an absolute path") from None


def _count(value: object, source: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a whole number above 0")
    return int(text)


def _bytes(value: object, source: str) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    size = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if isinstance(value, bool) or size < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a size such as 8G, or bytes")
    return size
