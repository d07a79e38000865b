"""What the server has done in a process of its own, for it may take long: each an async function of JSON values.

They are found by the entry point `stargazer.jobs`, and run as runs of the kind `job`.
"""

from __future__ import annotations

from stargazer.mcp.jobs.claims import check_claims
from stargazer.mcp.jobs.files import download, fetch_bundle, upload

__all__ = ["check_claims", "download", "fetch_bundle", "upload"]
