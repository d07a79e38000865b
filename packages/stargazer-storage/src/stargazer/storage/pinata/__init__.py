"""Pinata: its v3 API, and uploads that continue where they were cut."""

from __future__ import annotations

from stargazer.storage.pinata.api import PinataApi
from stargazer.storage.pinata.files import PinataFile
from stargazer.storage.pinata.retrying import Patience, Refused, Unavailable

__all__ = ["Patience", "PinataApi", "PinataFile", "Refused", "Unavailable"]
