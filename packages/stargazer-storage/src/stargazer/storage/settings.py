"""One settings object: the environment's variables over the configuration file over the defaults.

The file is `config.toml` in STARGAZER_HOME and holds the same names, in lower case, without the prefix `STARGAZER_`:

    mode = "local"
    local = "/data/stargazer"
    cores = 8
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import attrs

from stargazer.assets.errors import ConfigurationError

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
    pinata_jwt: str = attrs.field(default="", repr=lambda jwt: "'***'" if jwt else "''")
    pinata_gateway: str = "gateway.pinata.cloud"
    pinata_visibility: Visibility = "private"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings in force.

        Raises:
            ConfigurationError: the file cannot be read, or a value is not allowed; the message names variable or key.
        """
        home = Path(environ.get("STARGAZER_HOME") or Path.home() / ".stargazer").expanduser().absolute()
        file = _read(home / "config.toml")
        given: dict[str, Any] = {}
        for name, variable in VARIABLES.items():
            if environ.get(variable):
                given[name] = (environ[variable], variable)
            elif name in file and name != "home":
                given[name] = (file[name], f"{name} in {home / 'config.toml'}")
        values: dict[str, Any] = {name: _parse(name, *pair) for name, pair in given.items()}
        values["home"] = home
        values.setdefault("local", home / "local")
        values.setdefault("cores", _cores())
        values.setdefault("memory", _memory())
        return cls(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    unknown = sorted(set(values) - set(VARIABLES))
    if unknown:
        raise ConfigurationError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(VARIABLES)}")
    return values


def _parse(name: str, value: Any, source: str) -> Any:
    choices = {"mode": get_args(Mode), "pinata_visibility": get_args(Visibility)}.get(name)
    if choices:
        if value not in choices:
            raise ConfigurationError(f"{source} is {value!r}, expected {' or '.join(choices)}")
        return value
    if name in ("home", "local"):
        return Path(str(value)).expanduser().absolute()
    if name in ("cores", "memory"):
        try:
            number = _bytes(str(value)) if name == "memory" else int(value)
        except ValueError:
            number = 0
        if number < 1:
            expected = "bytes such as 8G" if name == "memory" else "a whole number above 0"
            raise ConfigurationError(f"{source} is {value!r}, expected {expected}")
        return number
    return str(value)


def _bytes(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    text = text.strip().upper().removesuffix("B").removesuffix("I")
    shift = units.get(text[-1:], 0)
    return int(float(text[:-1] if shift else text) * (1 << shift))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int:
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.9)
