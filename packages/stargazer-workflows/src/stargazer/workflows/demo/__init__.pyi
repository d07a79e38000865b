from .run import DEMOS, Demo, found_by, is_simulated, prepare

__all__ = [
    "DEMOS",
    "Demo",
    "found_by",
    "is_simulated",
    "prepare",
]
