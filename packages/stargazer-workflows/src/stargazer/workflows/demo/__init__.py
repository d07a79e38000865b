"""The demo: a simulated trio, its comparison with the truth, and the report of a run."""
