"""The tools of the MCP server, a module for each group."""
