"""stargazer.storage"""
