"""Moves a task from a cell of a notebook into the package: what it needs is extracted, written and tested."""
