"""What the bundle starts: the server, on its standard input and output."""

from __future__ import annotations

from stargazer.mcp.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
