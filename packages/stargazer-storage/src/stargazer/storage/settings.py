"""One settings object: the environment's variables over the configuration file over the defaults.

The file is `config.toml` in STARGAZER_HOME and holds the same names, in lower case, without the prefix `STARGAZER_`:

    mode = "local"
    local = "/data/stargazer"
    cores = 8
    memory = "24G"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from stargazer.assets import ConfigurationError
from stargazer.storage.machine import available_cores, available_memory
from stargazer.storage.modes import Mode, decide
from stargazer.storage.parsing import HIDDEN, SECRETS, Visibility, is_here, parse
from stargazer.storage.refusals import REASONS

__all__ = ["PUBLIC_GATEWAY", "SECRETS", "VARIABLES", "Settings"]

PUBLIC_GATEWAY = "gateway.pinata.cloud"
"""The gateway where none is set: anybody's, for public files only."""

VARIABLES = {
    "mode": "STARGAZER_MODE",
    "home": "STARGAZER_HOME",
    "local": "STARGAZER_LOCAL",
    "index": "STARGAZER_INDEX",
    "cores": "STARGAZER_CORES",
    "memory": "STARGAZER_MEMORY",
    "pinata_jwt": "PINATA_JWT",
    "pinata_gateway": "PINATA_GATEWAY",
    "pinata_gateway_token": "PINATA_GATEWAY_TOKEN",
    "pinata_visibility": "PINATA_VISIBILITY",
    "pinata_api": "PINATA_API",
    "pinata_uploads": "PINATA_UPLOADS",
}
"""The environment's variable of each setting."""


def _hidden(secret: str) -> str:
    return repr(HIDDEN if secret else "")


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
        home: Path = parse("home", environ.get("STARGAZER_HOME") or "~/.stargazer", "STARGAZER_HOME")
        path = home / "config.toml"
        file = _read(path)
        values: dict[str, Any] = {}
        origins = dict.fromkeys(VARIABLES, "default")
        for name, variable in VARIABLES.items():
            if environ.get(variable):
                origins[name] = variable
                values[name] = parse(name, environ[variable], variable)
            elif name in file:
                origins[name] = str(path)
                values[name] = parse(name, file[name], f"{name} in {str(path)!r}")
        _keep_token_safe(values, origins)
        values["home"] = home
        values.setdefault("local", home / "local")
        values.setdefault("cores", available_cores())
        values.setdefault("memory", available_memory() * 9 // 10)
        said_by = f"mode in {str(path)!r}" if origins["mode"] == str(path) else "STARGAZER_MODE"
        decision = decide(values.get("mode"), said_by, environ, folder)
        if "mode" not in values:
            values["mode"], origins["mode"] = decision.mode, str(decision.file or "default")
        return cls(
            **values,
            flyte_endpoint=decision.endpoint,
            flyte_config=decision.file,
            mode_reason=decision.reason,
            origins=origins,
        )

    @property
    def gateway_url(self) -> str:
        """The gateway as a URL without a slash at its end."""
        return self.pinata_gateway if "://" in self.pinata_gateway else f"https://{self.pinata_gateway}"

    def shown(self, name: str) -> str:
        """The value of a setting for people: whether a secret is set, and not what it is."""
        value = getattr(self, name)
        if name in SECRETS:
            return "set" if value else "not set"
        if name == "memory":
            return f"{value / 1e9:.1f} GB"
        return "not set" if value is None else str(value)


def _keep_token_safe(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    gateway = values.get("pinata_gateway", "")
    if values.get("pinata_gateway_token") and gateway.lower().startswith("http://") and not is_here(gateway):
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
    for name in values:
        if name == "home":
            raise ConfigurationError(f"home in {str(path)!r}: set the variable STARGAZER_HOME instead")
        if name not in known:
            raise ConfigurationError(f"{str(path)!r}: unknown key {name!r}; known: {', '.join(known)}")
    return values
