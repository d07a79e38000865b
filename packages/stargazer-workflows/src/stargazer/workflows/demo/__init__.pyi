from .run import Demo, is_simulated, prepare, run_demo

__all__ = [
    "Demo",
    "is_simulated",
    "prepare",
    "run_demo",
]
