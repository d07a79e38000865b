"""The settings in force, as the command `config` and the server's resource show them."""

from __future__ import annotations

from typing import Any

from stargazer import storage

__all__ = ["described"]


def described(settings: storage.Settings) -> dict[str, Any]:
    """The settings in force, where each comes from, and what follows: everything that `config` prints; no secret."""
    pinata, cloud = bool(settings.pinata_jwt), settings.mode == "cloud"
    missing = "cloud mode keeps files on Pinata: set PINATA_JWT to a token of your account"
    variables = [
        {"name": name, "variable": variable, "value": settings.shown(name), "origin": settings.origins[name]}
        for name, variable in storage.VARIABLES.items()
    ]
    return {
        "mode": settings.mode,
        "mode_reason": settings.mode_reason,
        "storage": {
            "kind": "pinata" if pinata or cloud else "local",
            "reason": f"PINATA_JWT is {settings.shown('pinata_jwt')}",
            "visibility": settings.pinata_visibility if pinata else None,
            "missing": missing if cloud and not pinata else None,
        },
        "execution": {
            "kind": "remote" if cloud else "local",
            "endpoint": settings.flyte_endpoint or None,
            "flyte_config": str(settings.flyte_config) if settings.flyte_config else None,
        },
        "settings": variables,
        "paths": {
            "config": str(settings.home / "config.toml"),
            "runs": str(settings.home / "runs"),
            "logs": str(settings.home / "logs"),
            "store": str(settings.local),
            "index": str(settings.index or settings.local),
        },
    }
