"""stargazer.mcp"""
