"""An RPC client and notifier: `client.py CONFIG,…` does what each line of its standard input says, in JSON, each in a
thread of its own, and prints how that went, in JSON too, with the number of the line.
"""

from __future__ import annotations

import collections
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import oslo_messaging
from oslo_config import cfg

Result = dict[str, Any]

TIMEOUT = 60.0
"""Seconds after which a call has failed, if its line does not say."""


def client(
    transport: Any, topic: str, server: str | None = None, fanout: bool | None = None, timeout: float = TIMEOUT
) -> Any:
    """A client for one target."""
    target = oslo_messaging.Target(topic=topic, server=server, fanout=fanout)
    return oslo_messaging.get_rpc_client(transport, target, timeout=timeout)


def call(transport: Any, method: str, value: object, **target: Any) -> Result:
    """Call, and say what came back."""
    try:
        return {"returned": client(transport, **target).call({}, method, value=value)}
    except Exception as error:
        return {"raised": type(error).__name__, "message": str(error).splitlines()[0]}


def call_large(transport: Any, size: int, **target: Any) -> Result:
    """Call `echo` with so many bytes, and say whether the same came back."""
    value = "".join(f"{number:010}" for number in range(size // 10))
    return {"same": client(transport, **target).call({}, "echo", value=value)[1] == value}


def cast(transport: Any, method: str, arguments: dict[str, object], count: int = 1, **target: Any) -> Result:
    """Cast, to one server or to all, so many times in a row."""
    casting = client(transport, **target)
    for _ in range(count):
        casting.cast({}, method, **arguments)
    return {"cast": method}


def notify(transport: Any, topic: str, publisher: str, event: str, payload: object) -> Result:
    """Notify."""
    notifications = oslo_messaging.get_notification_transport(cfg.CONF)
    notifier = oslo_messaging.Notifier(notifications, publisher, driver="messagingv2", topics=[topic])
    notifier.info({}, event, payload)
    return {"notified": topic}


class Calls:
    """Many calls, from many threads at once, and what came of them.

    :param gate: a topic by which servers are told to go on, once every thread has called; until then they only wait.
    """

    def __init__(self, transport: Any, at_once: int, gate: str | None = None, **target: Any) -> None:
        self._client = client(transport, **target)
        self._gate = client(transport, topic=gate, fanout=True) if gate else None
        self._method = "echo_when_open" if gate else "echo"
        self._at_once = at_once
        self._lock = threading.Lock()
        self._waiting = self._over = 0
        self.most_waiting = 0
        self.answers: collections.Counter[str] = collections.Counter()
        self.raised: collections.Counter[str] = collections.Counter()
        self.wrong = 0

    def run(self, count: int) -> None:
        """Make them, and return when all are over."""
        values = [range(first, count, self._at_once) for first in range(self._at_once)]
        threads = [threading.Thread(target=self._work, args=(each,)) for each in values]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, values: Iterable[int]) -> None:
        for value in values:
            self._begin()
            try:
                server, answer = self._client.call({}, self._method, value=value)
                self._answered(server, answer == value)
            except Exception as error:
                self._failed(error)

    def _begin(self) -> None:
        with self._lock:
            self._waiting += 1
            self.most_waiting = max(self.most_waiting, self._waiting)
            last = self._waiting == self._at_once
        if last and self._gate:
            self._gate.cast({}, "open")

    def _answered(self, server: str, right: bool) -> None:
        with self._lock:
            self.answers[server] += 1
            self.wrong += not right
            self._end()

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self.raised[type(error).__name__] += 1
            self._end()

    def _end(self) -> None:
        self._waiting -= 1
        self._over += 1
        if self._over % 10 == 0:
            print(json.dumps({"over": self._over}), flush=True)


def calls(transport: Any, count: int, **options: Any) -> Result:
    """Make many calls; say now and then how many are over, and at last what came of them."""
    began = time.monotonic()
    calling = Calls(transport, **options)
    calling.run(count)
    return {
        "answers": calling.answers,
        "raised": calling.raised,
        "wrong": calling.wrong,
        "most_waiting": calling.most_waiting,
        "seconds": round(time.monotonic() - began, 2),
    }


VERBS: dict[str, Callable[..., Result]] = {
    "call": call,
    "call_large": call_large,
    "cast": cast,
    "notify": notify,
    "calls": calls,
}


def main() -> None:
    """Do what is asked until there is nothing more."""
    cfg.CONF([f"--config-file={config}" for config in sys.argv[1].split(",")])
    transport = oslo_messaging.get_rpc_transport(cfg.CONF)

    def do(number: int, line: str) -> None:
        asked = json.loads(line)
        result = VERBS[asked.pop("do")](transport, **asked)
        print(json.dumps({"line": number, **result}), flush=True)

    for number, line in enumerate(sys.stdin):
        threading.Thread(target=do, args=(number, line), daemon=True).start()


if __name__ == "__main__":
    main()
