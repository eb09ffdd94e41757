"""RPC servers of one process, on one connection: `server.py CONFIG,… NAME TOPIC…` has one of this name for each topic.
It also listens to notifications. What comes without an answer being sent it says, in JSON, a line each.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import oslo_messaging
from oslo_config import cfg

_lines = threading.Lock()
_open = threading.Event()


def say(**event: object) -> None:
    """Print it."""
    with _lines:
        print(json.dumps(event), flush=True)


class Calls:
    """What can be called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def echo(self, ctxt: Any, value: object) -> tuple[str, object]:
        """Who answers, and what it was asked."""
        return self._name, value

    def note(self, ctxt: Any, value: object) -> None:
        """Nothing, but say it."""
        say(noted=value)

    def fail(self, ctxt: Any, value: object) -> None:
        """Never."""
        raise ValueError(f"{self._name} cannot {value}")

    def echo_when_open(self, ctxt: Any, value: object) -> tuple[str, object]:
        """As `echo`, once `open` has come to this process."""
        say(waits=value)
        _open.wait()
        return self._name, value

    def open(self, ctxt: Any) -> None:
        """See `echo_when_open`. That may take all the threads of its topic, so call it by another."""
        _open.set()


class Notifications:
    """What can be notified."""

    def info(self, ctxt: Any, publisher_id: str, event_type: str, payload: object, metadata: Any) -> None:
        """Say it."""
        say(notified=[publisher_id, event_type, payload])


def main() -> None:
    """Serve until killed."""
    configs, name, *topics = sys.argv[1:]
    cfg.CONF([f"--config-file={config}" for config in configs.split(",")])
    transport = oslo_messaging.get_rpc_transport(cfg.CONF)
    for topic in topics:
        target = oslo_messaging.Target(topic=topic, server=name)
        oslo_messaging.get_rpc_server(transport, target, [Calls(name)], executor="threading").start()
    listening = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(cfg.CONF),
        [oslo_messaging.Target(topic="notifications")],
        [Notifications()],
        executor="threading",
    )
    listening.start()
    say(started=name)
    threading.Event().wait()


if __name__ == "__main__":
    main()
