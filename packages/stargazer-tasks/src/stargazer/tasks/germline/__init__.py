"""Germline variants: from paired reads to filtered calls."""
