"""How files came to be: walking provenance from a store alone, and showing it to people and programs."""

from __future__ import annotations

from stargazer.storage.lineage.listing import as_json
from stargazer.storage.lineage.text import render
from stargazer.storage.lineage.walking import Other, Step, why

__all__ = ["Other", "Step", "as_json", "render", "why"]
