"""What a result depends on, as one hash: the digest of a task's code, and the run key that the memo is asked by."""

from __future__ import annotations
