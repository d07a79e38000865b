"""The short form of benchmarks/campaign_pinata.py: clients and the service killed at a few points of everything."""

from __future__ import annotations

import pytest

from .pinata_kills import OPERATIONS, campaign


@pytest.mark.parametrize("operation", list(OPERATIONS))
@pytest.mark.parametrize("service", [False, True], ids=["client", "service"])
def test_killed_anywhere_it_loses_and_doubles_nothing(tmp_path, operation, service):
    outcome = campaign(tmp_path, 2, 11, operation, service=service)

    assert outcome.stopped
    assert outcome.points == 2
    assert outcome.ok, outcome
