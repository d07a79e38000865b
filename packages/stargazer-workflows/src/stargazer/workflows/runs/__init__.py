"""Runs: their records on disk, running a workflow here or in a worker process, and what is done with a run then."""
