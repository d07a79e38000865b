"""stargazer.assets"""
