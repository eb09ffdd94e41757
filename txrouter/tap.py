"""The router as a program: what `twist txrouter`, `twistd txrouter` and `txrouter run` start."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions

from txrouter import __version__
from txrouter.config import Config, ConfigError
from txrouter.service import RouterService, tune_gc

__all__ = ["CannotStartError", "Options", "Program", "complaints", "load", "makeService", "source"]

_log = Logger()


class Options(UsageOptions):
    """The command line of the plugin; `txrouter run` has the same options."""

    synopsis = "[options]"
    longdesc = "Routes AMQP 1.0 messages. Without options it listens on port 5672 of the loopback interface."
    optParameters: ClassVar = [["config", "c", None, "The TOML file that says what the router does."]]

    def __init__(self) -> None:
        UsageOptions.__init__(self)
        self["listen"] = []
        self["distribution"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen on this Twisted server endpoint as well. May be given more than once."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_distribution(self, rule: str) -> None:
        """PATTERN=POLICY: distribute messages to these addresses by this policy. May be given more than once."""
        self["distribution"].append(rule)

    opt_d = opt_distribution

    def opt_version(self) -> None:
        """Show the version of txrouter and exit."""
        print(f"txrouter {__version__}")
        raise SystemExit(0)


class CannotStartError(SystemExit, Exception):
    """The router cannot listen where it was told to, which has been logged; the process ends with status 1.

    It is a SystemExit, so that nobody prints a traceback of it, and an Exception, so that twistd removes its pid file
    and reports it from a daemon.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self._reason = reason

    def __str__(self) -> str:
        return self._reason


class Program(RouterService):
    """A router that is all there is in its process: when it cannot listen, the process ends with status 1."""

    _failure = ""
    _hangup: Any = None
    """What a SIGHUP did before."""

    def startService(self) -> None:
        """Start the router. From now on it takes its config anew when the process gets a SIGHUP.

        :raise CannotStartError: it cannot listen.
        """
        self._mind_hangups()  # before it says that it is ready
        super().startService()
        if self._failure and not self._reactor.running:
            raise CannotStartError(self._failure)

    def _mind_hangups(self) -> None:
        if isinstance(self._reactor, ReactorBase) and threading.current_thread() is threading.main_thread():
            self._hangup = signal.signal(signal.SIGHUP, self._hung_up)

    def _hung_up(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._reread)

    def _reread(self) -> None:
        if not self.running:
            _log.info("reload: the router is stopping; nothing has changed")
            return
        try:
            self.reread()
        except ConfigError as error:
            for problem in error.problems:
                _log.error("reload: {problem}", problem=problem)
            _log.error("reload: the config is wrong; nothing has changed")
        except LookupError as error:
            _log.warn("reload: {error}", error=str(error))

    def stopService(self) -> Deferred[None]:
        # not sooner: by default, a SIGHUP ends the process, whatever is in flight
        return super().stopService().addBoth(self._mind_no_hangups)

    def _mind_no_hangups(self, result: Any) -> Any:
        if self._hangup is not None:
            signal.signal(signal.SIGHUP, self._hangup)
            self._hangup = None
        return result

    def _ready(self, ports: list[IListeningPort]) -> None:
        super()._ready(ports)
        tune_gc()

    def _cannot_listen(self, failure: Failure) -> None:
        known = _known(failure.value, self.config)
        self._failure = f"txrouter cannot listen{known or f': {failure.value!r}'}"
        if known:
            _log.critical("{reason}", reason=self._failure)
        else:
            _log.failure("{reason}", failure, reason=self._failure)
        if self._reactor.running:
            # an endpoint that takes its time: neither twist nor twistd asks a running service for the exit status
            atexit.register(os._exit, 1)
            self._reactor.stop()


def _known(error: BaseException | None, config: Config) -> str | None:
    """Where it cannot listen, and why, if it is one of the things that happen to people; otherwise None."""
    if isinstance(error, CannotListenError):
        problem = error.socketError
        # the port of a UNIX socket is its path
        numbered = isinstance(error.port, int)
        place = f"port {error.port} of {error.interface or 'any interface'}" if numbered else error.port
        return f" on {place}: {getattr(problem, 'strerror', None) or problem}"
    if isinstance(error, OSError):
        file = error.filename2 or error.filename
        return f"{f' on {os.fsdecode(file)}' if file else ''}: {error.strerror or error}"
    if isinstance(error, LookupError) and any(each.endpoint.startswith("systemd:") for each in config.listener):
        return ": systemd has passed no such socket to this process"
    return None


def load(file: str | None, listen: Sequence[str], distribution: Sequence[str]) -> Config:
    """The config that a command line asks for.

    :raise SystemExit: it is wrong; the message has a line for each problem.
    """
    try:
        if file is None:
            return Config.default(listen=listen, distribution=distribution)
        return Config.load(file, listen=listen, distribution=distribution)
    except ConfigError as error:
        raise SystemExit("\n".join(f"txrouter: {line}" for line in complaints(error, file))) from None


def source(file: str | None, listen: Sequence[str], distribution: Sequence[str]) -> Callable[[], Config] | None:
    """How to take that config anew; None where there is no file. It raises ConfigError; the problems name the file."""
    if file is None:
        return None

    def again() -> Config:
        try:
            return Config.load(file, listen=listen, distribution=distribution)
        except ConfigError as error:
            raise ConfigError(complaints(error, file)) from None

    return again


def complaints(error: ConfigError, file: str | None) -> list[str]:
    """The problems of a config, each with the file it is in, unless it is on the command line."""
    return [line if file is None or line.startswith("--") else f"{file}: {line}" for line in error.problems]


def makeService(options: Options) -> Program:
    """The service that twist and twistd run.

    :raise SystemExit: the config is wrong; the message has a line for each problem.
    """
    line = options["config"], options["listen"], options["distribution"]
    config = load(*line)
    from twisted.internet import reactor  # not sooner: twist's --reactor comes first

    return Program(config, reactor, source(*line))
