"""`python -m stargazer.mcp.cli`: the same as `stargazer`."""

from __future__ import annotations

import sys

from stargazer.mcp.cli import main

sys.exit(main())
