"""The short form of benchmarks/campaign.py: processes killed, and disks full, at a few points of everything."""

from __future__ import annotations

import pytest

from .kill_campaign import OPERATIONS, DiskFull, campaign, disk_full, namespace, remote_campaign


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_killed_anywhere_it_loses_nothing_that_was_acknowledged(tmp_path, operation):
    (outcome,) = campaign(tmp_path, points=3, seed=7, operations=[operation])

    assert outcome.stopped == outcome.points == 3
    assert outcome.ok, outcome


def test_killed_while_it_pushes_or_pulls_it_loses_nothing_and_goes_on(tmp_path, pinata_process):
    urls = {name: getattr(pinata_process, name) for name in ("jwt", "api", "uploads", "gateway")}

    for outcome in remote_campaign(tmp_path, points=3, seed=7, urls=urls):
        assert outcome.ok, outcome


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path):
    if namespace() is None:
        pytest.skip("NOT TESTED: neither root nor user namespaces here, so no disk that is full")
    plan = DiskFull(first=0, last=2_400_000, step=600_000)

    outcomes = disk_full(tmp_path, plan)

    assert [outcome for outcome in outcomes if not outcome.ok] == []
    assert all(outcome.stopped for outcome in outcomes)
