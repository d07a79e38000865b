"""Upkeep of a store: sweep, gc, evict, fsck and verify; each verb is one function that answers with a report."""
