"""collectd's plugin amqp1: an anonymous producer, without a SASL layer, whose messages go to `/prefix/name`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.interop.conftest import Run, require
from tests.interop.install import collectd
from tests.net.links import ACCEPTED
from tests.net.routers import RunningRouter

pytestmark = pytest.mark.interop

CONFIG = """
BaseDir "{state}"
PIDFile "{state}/pid"
PluginDir "{collectd}/usr/lib/collectd"
TypesDB "{collectd}/usr/share/collectd/types.db"
Hostname "node-1"
Interval 0.1

LoadPlugin uptime
LoadPlugin amqp1
<Plugin amqp1>
  <Transport "router">
    Host "127.0.0.1"
    Port "{port}"
    Address "telemetry"
    <Instance "metrics">
      Format JSON
      PreSettle {presettled}
    </Instance>
  </Transport>
</Plugin>
"""


@pytest.mark.parametrize("presettled", ["false", "true"], ids=["acknowledged", "presettled"])
@pytest_twisted.ensureDeferred
async def test_metrics_arrive_at_an_address_with_a_leading_slash(
    router: RunningRouter, run: Run, tmp_path: Path, presettled: str
) -> None:
    directory = require(collectd)
    config = tmp_path / "collectd.conf"
    config.write_text(CONFIG.format(state=tmp_path, collectd=directory, port=router.port, presettled=presettled))
    receiver = await router.receiver("telemetry/metrics", credit=3, takes=ACCEPTED)
    run(directory / "usr" / "sbin" / "collectd", "-f", "-C", config)
    for _ in range(3):
        received = await receiver.next()
        message: Any = received.message  # kept: its body is a view of its memory
        (metric,) = json.loads(bytes(message.body))
        assert (message.address, metric["host"], metric["plugin"]) == ("/telemetry/metrics", "node-1", "uptime")
        assert received.settled == (presettled == "true")
