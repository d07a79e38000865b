"""Checks of files at registration, by their heads and indices: entry points of the group `stargazer.checks`.

None of these modules imports a library of the field before a file needs it: they run whenever a file is added.
"""

from __future__ import annotations
