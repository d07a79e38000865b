"""stargazer.tasks"""
