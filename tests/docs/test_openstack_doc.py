"""The config of docs/openstack.md gives every address that oslo.messaging makes the distribution that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from txrouter.config import Config

CONFIG = Config.load(Path(__file__).parents[2] / "docs" / "openstack" / "router.toml")


@pytest.mark.parametrize(
    ("address", "distribution"),
    [
        ("openstack.org/om/rpc/anycast/nova/conductor", "pull"),
        ("openstack.org/om/rpc/unicast/nova/compute/node-1.example", "closest"),
        ("openstack.org/om/rpc/multicast/neutron/q-agent-notifier-port-update", "multicast"),
        ("openstack.org/om/notify/anycast/nova/notifications.info", "pull"),
        ("openstack.org/om/rpc/anycast/cell1/nova/conductor", "pull"),
        ("openstack.org/om/rpc/unicast/cell1/nova/compute/node-1.example", "closest"),
        ("openstack.org/om/rpc/multicast/cell1/nova/scheduler", "multicast"),
        ("unicast.nova.conductor", "pull"),
        ("exclusive.nova.compute.node-1.example", "closest"),
        ("broadcast.nova.scheduler.all", "multicast"),
        ("unicast.cell1.nova.conductor", "pull"),
        ("exclusive.cell1.nova.compute.node-1.example", "closest"),
        ("broadcast.cell1.nova.scheduler.all", "multicast"),
    ],
)
def test_an_address_has_the_distribution_that_it_needs(address: str, distribution: str) -> None:
    found = CONFIG.table().find(address)
    assert found is not CONFIG.router.distribution
    factory: Any = found.factory
    assert factory.name == distribution
