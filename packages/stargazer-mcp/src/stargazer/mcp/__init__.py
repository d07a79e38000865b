"""The `stargazer` command, for people, and the MCP server, for agents."""
