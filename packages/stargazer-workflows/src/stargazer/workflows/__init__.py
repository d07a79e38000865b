"""Pipelines: workflows take scalars, find their files by what they are, and compose tasks."""
