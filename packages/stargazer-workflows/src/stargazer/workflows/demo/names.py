"""Names that the demos' files, samples and cells have, for those who simulate, register, call and compare them."""

from __future__ import annotations

__all__ = ["BUILD", "CELL_SAMPLES", "CELL_TYPES", "CONFIDENT", "DAMAGED", "DOUBLET", "MANIFEST", "TRIO"]

BUILD = "stargazer-demo"
CONFIDENT = "demo-confident"
TRIO = ("demo-father", "demo-mother", "demo-child")
CELL_SAMPLES = ("demo-cells-1", "demo-cells-2")
CELL_TYPES = "demo_cell_types"
"""Kind of the table of true types."""
DOUBLET, DAMAGED = "doublet", "damaged"
MANIFEST = "simulation.json"
"""Written last into a folder of simulated files."""
