"""The `stargazer` command and the MCP server: the doors through which people and agents come in."""
