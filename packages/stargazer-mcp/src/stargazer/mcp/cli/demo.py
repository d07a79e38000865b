"""`stargazer demo`: a family simulated, its variants called and compared with the truth."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["demo"]


def demo(argv: Sequence[str]) -> int:
    """Run the demo."""
    from stargazer.workflows.demo.run import demo as run_demo

    run_demo()
    return 0
