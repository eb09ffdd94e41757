"""A router in a process of its own, whose memory and time are its alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString, connectProtocol, wrapClientTLS

from tests.net.clients import Client
from tests.net.waiting import reactor


class Process:
    """A router's process and its clients; it is gone with `end`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._clients: list[Any] = []

    def resident(self) -> int:
        """Bytes of memory that it has from the kernel."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most bytes of memory that it has had."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self._process.pid}/status").read_text())
        assert found
        return int(found[1]) << 10

    async def end(self) -> None:
        """Have all clients gone, and the router."""
        for client in self._clients:
            client.abort()
            await client.gone()
        self._process.kill()
        self._process.communicate()


class RouterProcess(Process):
    """A router that was started as users do it.

    :param listen: an endpoint on 127.0.0.1.
    :param config: a file with more of its config.
    """

    def __init__(self, listen: str = "tcp:0:interface=127.0.0.1", config: Path | None = None) -> None:
        command = [sys.executable, "-m", "txrouter", "run", "--listen", listen]
        if config is not None:
            command += ["--config", str(config)]
        super().__init__(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        assert self._process.stdout is not None
        lines = (re.search(r"accepts on 127\.0\.0\.1:(\d+)", line) for line in self._process.stdout)
        self._endpoint = f"tcp:127.0.0.1:{next(filter(None, lines))[1]}"

    async def client(self, container: str, tls: Any = None) -> Client:
        """A client whose connection is open; with these options for TLS, if it is to speak that."""
        endpoint: Any = clientFromString(reactor, self._endpoint)
        client: Any = await connectProtocol(wrapClientTLS(tls, endpoint) if tls else endpoint, Client(container))
        self._clients.append(client)
        await client.opened()
        assert isinstance(client, Client)
        return client

    def cpu(self) -> float:
        """Seconds that it has computed."""
        # the name, in brackets, may have spaces
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
