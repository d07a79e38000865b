"""Random draws that stay the same for a seed on every machine and with every numpy version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "Draws"]

Array: TypeAlias = np.ndarray[Any, Any]


class Draws:
    """A stream of draws derived from the raw 64-bit output of PCG64 alone.

    numpy guarantees the raw stream of a bit generator, not that of `Generator`'s distributions, so the
    few distributions needed here are made from raw draws with exactly rounded arithmetic only.

    Args:
        seed: one or more whole numbers >= 0; different numbers give independent streams.
    """

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(seed)))

    def uniform(self, *shape: int) -> Array:
        """Floats in [0, 1) of this shape."""
        raw = self._bits.random_raw(math.prod(shape))
        return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def bytes(self, *shape: int) -> Array:
        """Whole numbers 0 to 255 of this shape: the cheapest draw, eight to a raw one."""
        return self._small("u1", shape)

    def words(self, *shape: int) -> Array:
        """Whole numbers 0 to 65535 of this shape, four to a raw draw."""
        return self._small("<u2", shape)

    def _small(self, kind: str, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        per_raw = 8 // np.dtype(kind).itemsize
        raw = self._bits.random_raw(-(-count // per_raw)).astype("<u8", copy=False)
        return raw.view(kind)[:count].reshape(shape)

    def integers(self, low: int, high: int, *shape: int) -> Array:
        """Whole numbers from low (included) to high (excluded) of this shape."""
        return (low + self.uniform(*shape) * (high - low)).astype(np.int64)

    def normal(self, mean: float, deviation: float, *shape: int) -> Array:
        """Nearly normal floats of this shape: the sum of twelve uniforms, so within six deviations."""
        total = self.uniform(*shape)
        for _ in range(11):
            total = total + self.uniform(*shape)
        return mean + deviation * (total - 6.0)

    def weighted(self, weights: Sequence[float], *shape: int) -> Array:
        """Positions in `weights`, each as often as its weight says."""
        edges = np.cumsum(np.asarray(weights, dtype=float))
        return np.searchsorted(edges / edges[-1], self.uniform(*shape), side="right").clip(
            max=len(weights) - 1
        )

    def one(self, low: int, high: int) -> int:
        """One whole number from low (included) to high (excluded)."""
        return int(self.integers(low, high, 1)[0])

    def order(self, count: int) -> Array:
        """A random permutation of 0 .. count - 1."""
        return np.argsort(self._bits.random_raw(count), kind="stable")
