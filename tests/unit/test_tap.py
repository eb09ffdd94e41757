"""The plugin for twist and twistd, and the router as a whole program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from zope.interface import implementer

from txrouter import __version__, tap
from txrouter.config import Config

IN_USE = CannotListenError("127.0.0.1", 5672, OSError(98, "Address already in use"))


def parsed(*line: str) -> tap.Options:
    options = tap.Options()
    UsageOptions.parseOptions(options, line)
    return options


Listening = Callable[[Deferred[Any]], None]


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Listening:
    """Say what comes of a router's listening."""

    def listening(outcome: Deferred[Any]) -> None:
        monkeypatch.setattr(tap.Program, "when_listening", lambda self: outcome)

    return listening


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    calls: list[bool] = []
    monkeypatch.setattr(tap, "tune_gc", lambda: calls.append(True))
    return calls


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("atexit.register", lambda *call: calls.append(call))
    return calls


@implementer(ILogObserver)
class Critical(list[str]):
    """What is logged as critical."""

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            self.append(formatEvent(event))


@pytest.fixture
def critical(flush_logged_errors: Callable[[], object]) -> Iterator[list[str]]:
    observer = Critical()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)
    flush_logged_errors()


class Reactor(MemoryReactorClock):
    """A reactor in memory that says whether it runs."""

    def __init__(self, running: bool = False) -> None:
        MemoryReactorClock.__init__(self)
        self.running = running
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


def program(reactor: Reactor) -> tap.Program:
    return tap.Program(Config.default(), reactor)


def test_twist_finds_the_plugin_and_its_module() -> None:
    [maker] = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "txrouter"]
    assert maker.options is tap.Options
    assert maker.makeService is tap.makeService


def test_the_options_are_a_config_and_any_number_of_endpoints_and_addresses() -> None:
    options = parsed("-c", "a.toml", "-l", "tcp:1", "--listen", "tcp:2", "-d", "x=pull", "--distribution=y=pull")
    assert options["config"] == "a.toml"
    assert options["listen"] == ["tcp:1", "tcp:2"]
    assert options["distribution"] == ["x=pull", "y=pull"]


def test_two_command_lines_share_nothing() -> None:
    parsed("-l", "tcp:1")
    assert tap.Options()["listen"] == []


def test_an_unknown_option_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        parsed("--colour", "red")


def test_the_version_is_that_of_the_router(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"txrouter {__version__}\n"


def test_the_service_gets_the_config_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "router.toml").write_text('[router]\nid = "r7"\n')
    service = tap.makeService(parsed("-c", str(tmp_path / "router.toml"), "-l", "tcp:0"))
    assert service.config.router.id == "r7"
    assert [listener.endpoint for listener in service.config.listener] == ["tcp:0"]


def test_a_wrong_config_ends_the_process_with_all_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text("[limits]\nmax_links = 0\nmax_sessions = 0\n")
    options = parsed("-c", str(file), "-l", "tcp:x")
    with pytest.raises(SystemExit) as caught:
        tap.makeService(options)
    listen, sessions, links = str(caught.value.code).splitlines()
    assert listen.startswith("txrouter: --listen tcp:x: ")
    assert links == f"txrouter: {file}: limits.max_links: must be at least 1"
    assert sessions == f"txrouter: {file}: limits.max_sessions: must be at least 1"


def test_a_router_that_listens_is_tuned_for_a_long_life(listening: Listening, tuned: list[bool]) -> None:
    listening(succeed([]))
    program(Reactor()).startService()
    assert tuned == [True]


def test_a_router_that_cannot_listen_raises_what_ends_the_process(
    listening: Listening, tuned: list[bool], critical: list[str], at_exit: list[tuple[object, ...]]
) -> None:
    listening(fail(IN_USE))
    with pytest.raises(tap.CannotStartError) as caught:
        program(Reactor()).startService()
    assert caught.value.code == 1
    assert critical == ["txrouter cannot listen on port 5672 of 127.0.0.1: Address already in use"]
    assert str(caught.value) == critical[0]
    assert tuned == []
    assert at_exit == []


def test_what_ends_the_process_is_cleaned_up_after_and_has_no_traceback() -> None:
    assert issubclass(tap.CannotStartError, Exception)
    assert issubclass(tap.CannotStartError, SystemExit)


def test_a_router_that_finds_out_later_that_it_cannot_listen_stops_the_reactor(
    listening: Listening, critical: list[str], at_exit: list[tuple[object, ...]]
) -> None:
    outcome: Deferred[Any] = Deferred()
    listening(outcome)
    reactor = Reactor()
    program(reactor).startService()
    reactor.running = True
    outcome.errback(IN_USE)
    assert reactor.stopped
    assert len(critical) == 1
    [(exit_at_once, status)] = at_exit
    assert exit_at_once is os._exit
    assert status == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            CannotListenError(None, "/run/r.sock", OSError(13, "Permission denied")),
            " on /run/r.sock: Permission denied",
        ),
        (CannotListenError("", 5672, "Cannot say"), " on port 5672 of any interface: Cannot say"),
        (FileNotFoundError(2, "No such file", "7", None, b"/run/x.lock"), " on /run/x.lock: No such file"),
        (OSError(88, "Not a socket"), ": Not a socket"),
        (IndexError("list index"), ": IndexError('list index')"),
        (RuntimeError("what"), ": RuntimeError('what')"),
    ],
)
def test_why_it_cannot_listen_is_one_line(listening: Listening, critical: list[str], error: Any, line: str) -> None:
    listening(fail(error))
    with pytest.raises(tap.CannotStartError):
        program(Reactor()).startService()
    assert critical == [f"txrouter cannot listen{line}"]


def test_a_socket_that_systemd_does_not_pass_is_said_to_be_missing(critical: list[str]) -> None:
    config = Config.default(listen=["systemd:domain=INET:name=amqp"])
    with pytest.raises(tap.CannotStartError):
        tap.Program(config, Reactor()).startService()
    assert critical == ["txrouter cannot listen: systemd has passed no such socket to this process"]
