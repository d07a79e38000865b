"""The demo's data as a bundle: nobody hosts it, so it is simulated here and verified against the pinned CIDs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stargazer.storage.bundles import BuiltinBundle

__all__ = ["BUNDLE", "make_files"]

SEED = 42


def make_files(folder: Path) -> dict[str, Any]:
    """Simulate the trio of `stargazer demo` into a folder that does not exist yet, under the names of the bundle."""
    from stargazer.workflows.demo.simulate import simulate_trio

    return simulate_trio(str(folder), SEED)


BUNDLE = BuiltinBundle(
    manifest=Path(__file__).with_name("demo.bundle.json"),
    maker=make_files,
    origin=f"simulated by stargazer demo, seed {SEED}",
)
