"""stargazer.workflows"""
