"""The parts of the Pinata emulator, and the misbehaving HTTP server that they run on. The standard library only."""

from __future__ import annotations

from .account import Account, Refusal
from .answers import Answer, file_answer, json_answer
from .faults import Exchange, Fault, Faults, Observed
from .hosts import DOMAIN, JWT, Api, Gateway, Rules, Uploads
from .http import FaultyServer, Request
from .mirror import Mirror

__all__ = [
    "DOMAIN",
    "JWT",
    "Account",
    "Answer",
    "Api",
    "Exchange",
    "Fault",
    "Faults",
    "FaultyServer",
    "Gateway",
    "Mirror",
    "Observed",
    "Refusal",
    "Request",
    "Rules",
    "Uploads",
    "file_answer",
    "json_answer",
]
