"""A small OpenStack, each part in a process of its own: a router with the config of docs/openstack, and services that
use oslo.messaging with its driver for AMQP 1.0.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop.conftest import Run, require
from tests.interop.install import ROOT, oslo_messaging
from tests.interop.programs import PATIENCE, Program
from tests.net.waiting import reactor, wait_until

SCRIPTS = Path(__file__).parent / "oslo"
CONFIGS = ROOT / "docs" / "openstack"

# What is different in each test, on top of the config of the documentation.
SERVICE_CONFIG = """
[DEFAULT]
transport_url = amqp://127.0.0.1:{port}
executor_thread_pool_size = {threads}

[oslo_messaging_amqp]
{options}
"""


class Cloud:
    """A router and services, with the configs of the documentation.

    :param directory: for the services' config files.
    :param options: of the driver, beside those of the documentation.
    """

    def __init__(self, run: Run, directory: Path, **options: object) -> None:
        self._run = run
        self._directory = directory
        self._options = options
        self._python = require(oslo_messaging) / "bin" / "python"
        self._configs = itertools.count()
        self.port = 0

    def joined(self, run: Run, directory: Path) -> Cloud:
        """The same router, for programs that end sooner."""
        cloud = Cloud(run, directory, **self._options)
        cloud.port = self.port
        return cloud

    async def start_router(self) -> Program:
        """Start one, on the port that it had before, if any."""
        endpoint = f"tcp:{self.port}:interface=127.0.0.1"
        command = [sys.executable, "-m", "txrouter", "run", "--config", CONFIGS / "router.toml", "--listen", endpoint]
        router = self._run(*command, merged=True)
        ready = await router.says(r"ready: router \S+ accepts on 127\.0\.0\.1:(\d+)")
        self.port = int(ready[1])
        return router

    async def server(self, name: str, *topics: str, threads: int = 64) -> Program:
        """A process with RPC servers of this name, one for each topic, started; so many threads for each."""
        server = self._service("server", name, *topics, threads=threads)
        await server.says("started")
        return server

    def client(self) -> Client:
        """A process with an RPC client."""
        return Client(self._service("client"))

    def _service(self, script: str, *arguments: str, threads: int = 64) -> Program:
        config = self._directory / f"service{next(self._configs)}.conf"
        options = "\n".join(f"{key} = {value}" for key, value in self._options.items())
        config.write_text(SERVICE_CONFIG.format(port=self.port, threads=threads, options=options))
        configs = f"{CONFIGS / 'services.conf'},{config}"
        return self._run(self._python, "-W", "ignore", SCRIPTS / f"{script}.py", configs, *arguments)


class Client:
    """A service that calls others, casts to them and notifies."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._lines = itertools.count()

    def begin(self, do: str, **what: object) -> int:
        """Have it do one of what oslo/client.py can do; returns what `over` takes."""
        self.program.tell({"do": do, **what})
        return next(self._lines)

    async def over(self, line: int) -> Mapping[str, Any]:
        """Wait until that is done; returns how it went."""
        done: list[str] = []

        def said() -> bool:
            done.extend(each for each in self.program.said if each.startswith(f'{{"line": {line},'))
            return bool(done) or not self.program.running

        await wait_until(said, PATIENCE)
        assert done, f"{self.program} ended"
        result: dict[str, Any] = json.loads(done[0])
        del result["line"]
        return result

    async def do(self, do: str, **what: object) -> Mapping[str, Any]:
        """Have it do that, and wait until it is done; returns how it went."""
        return await self.over(self.begin(do, **what))

    async def over_by(self, calls: int) -> None:
        """Wait until so many of the calls that it is making are over."""
        await self.program.says(f'"over": {calls}}}')


async def all_answer(client: Client, topic: str, servers: set[str]) -> None:
    """Wait until every one of these servers is attached, and answers what is for any."""
    answered: set[str] = set()
    deadline = reactor.seconds() + PATIENCE
    while not answered >= servers:
        assert reactor.seconds() < deadline, f"only {answered} answer"
        server, _ = (await client.do("call", topic=topic, method="echo", value=None))["returned"]
        answered.add(server)
