"""A soak, from the start of its router to what there is to say of it.

It goes in rounds: clients run wild, then they calm down and everything has to come to its end, then new ones see that
every address works, and then all leave and the router is looked at. So memory is compared at rest, where it is the same
every time, and not only under a load that never is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import LoopingCall, deferLater

from soak.ledger import Ledger
from soak.memory import slope, steady
from soak.peers import Peer
from soak.population import Population
from soak.roles import ADDRESSES, Consumer, Producer
from soak.watched import Router
from tests.net.authorities import Issued
from tests.net.waiting import reactor
from txrouter.net.passwords import Secret, store

__all__ = ["Options", "Report", "soak"]

Say = Callable[[str], None]
_SAMPLE_EVERY = 2.0
_SWITCH_EVERY = 3.0
_SHORTEST = 5.0
"""Seconds of which it is worth while to make a round."""
_CALM_WITHIN = 40.0
_AT_REST_WITHIN = 20.0
_CHECKED = 20
"""Messages that each address gets when all is calm."""

_STEADY = {
    "files": (0, 0),
    "blocks": (1_000, 600),
    "allocated": (64 << 10, 32 << 10),
    "resident": (32 << 20, 16 << 20),
}
"""What a router may have more at rest than when it rested first, and by how much that may rise all in all: file
descriptors, blocks of memory of Python, bytes that C has allocated, and bytes that the process has from the kernel.
Over ten minutes blocks were seen to rise by 320 at most, and what is allocated by 16 KiB. What the process has
is the most that it ever needed, and rises while more is needed than ever before: at first by some 10 MiB."""
_CLIMB = 4 << 20
"""How many bytes a minute the process may grow by under load, in the last two thirds of a run that has `_ENOUGH` looks
at it in them. It was seen to be -1.3 to 1.8 MiB, in runs of ten minutes."""
_ENOUGH = 120
_WARM_UP = 1
"""Rests that are not compared, where there are enough without them."""


@dataclass(frozen=True)
class Options:
    """What is to be done."""

    seconds: float = 600.0
    seed: int = 1
    rate: float = 1500.0
    """Messages in a second, of all producers."""
    clients: int = 50
    """Connections at a time."""
    chaos: float = 10.0
    """Accidents in a second."""
    round_seconds: float = 45.0


@dataclass
class Report:
    """What came of it."""

    options: Options
    ledger: Ledger
    seconds: float = 0.0
    rests: list[dict[str, Any]] = field(default_factory=list)
    loads: list[tuple[float, int]] = field(default_factory=list)
    """Resident bytes under load, and when."""
    accidents: dict[str, int] = field(default_factory=dict)
    peak: int = 0
    cpu: float = 0.0
    log: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.ledger.counts["problems"]

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "options": vars(self.options),
            "ok": self.ok,
            "seconds": self.seconds,
            "counts": dict(self.ledger.counts),
            "accidents": self.accidents,
            "problems": [{"at": each.at, "what": each.what, "history": each.history} for each in self.ledger.problems],
            "rests": self.rests,
            "loads": self.loads,
            "peak": self.peak,
            "cpu": self.cpu,
        }


CONFIG = """
[router]
id = "soak"
stop_timeout = 2

[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"

[[listener]]
endpoint = "tcp:0:interface=127.0.0.1"
certificate = "{folder}/server.pem"
passwords = "{folder}/passwords"
mechanisms = ["SCRAM-SHA-256"]

[limits]
handshake_timeout = 3
idle_timeout = 6
write_timeout = 4
max_in_flight = 200
max_unsettled = 2000

[[address]]
pattern = "robin.*"
distribution = "round-robin"

[[address]]
pattern = "weighted.*"
distribution = "weighted"
options = {{ capacity = "property:capacity" }}

[[address]]
pattern = "pull.*"
distribution = "{pull}"

[[address]]
pattern = "rpc.*"
distribution = "{rpc}"

[[address]]
pattern = "balanced.*"
distribution = "{balanced}"

[[address]]
pattern = "closest.*"
distribution = "closest"

[[address]]
pattern = "two.*"
distribution = "power-of-two"

[[address]]
pattern = "idle.*"
distribution = "join-idle"

[[address]]
pattern = "ewma.*"
distribution = "peak-ewma"

[[address]]
pattern = "priority.*"
distribution = "pull"
priority = true

[[address]]
pattern = "multicast.*"
distribution = "multicast"
options = {{ block_seconds = 1 }}

[[address]]
pattern = "dropping.*"
distribution = "multicast"
options = {{ when_full = "drop", block_seconds = 1 }}

[[address]]
pattern = "detaching.*"
distribution = "multicast"
options = {{ when_full = "detach", block_seconds = 1, drop_seconds = 0.5 }}
"""


AT_REST = {"pull": "pull", "balanced": "balanced", "rpc": "pull"}
"""What the addresses have whose policies are other ones again and again."""
SWITCHED = ("pull", "adaptive", "round-robin", "least-work", "sticky", "exclusive", "outlier + slow-start + pull")
"""What some addresses are given in turn. None of them changes in which order a consumer gets what a producer sends."""
FOR_REQUESTS = ("reply-aware", "pull", "adaptive")


class _Switching:
    """The policies of some addresses, which change while clients run wild.

    Then they are as they were: what some policies send to a client that has fallen silent would be lost, when all else
    comes to its end.
    """

    def __init__(self, config: Path, folder: Path, random: Random) -> None:
        self._config = config
        self._folder = folder
        self._random = random
        self.write(**AT_REST)

    def write(self, **policies: str) -> None:
        """Have the config name these."""
        self._config.write_text(CONFIG.format(folder=self._folder, **policies))

    def switch(self, router: Router) -> None:
        """Have the router use others."""
        chosen = {name: self._random.choice(SWITCHED) for name in ("pull", "balanced")}
        self.write(**chosen, rpc=self._random.choice(FOR_REQUESTS))
        router.reloads()

    async def end(self, router: Router) -> bool:
        """Have it use those it began with. Returns False if it does not."""
        self.write(**AT_REST)
        router.reloads()
        wanted = {f"{name}.*": policy for name, policy in AT_REST.items()}
        return await _comes(lambda: wanted.items() <= router.has()["distributions"].items(), _AT_REST_WITHIN)


async def soak(options: Options, folder: Path, say: Say) -> Report:
    """Do it, and return what came of it."""
    server = Issued("localhost", names=("localhost",))
    server.write(folder / "server.pem")
    store(folder / "passwords", "alice", Secret.of("pencil", 4096))
    config = folder / "router.toml"
    random = Random(options.seed)
    switching = _Switching(config, folder, random)
    router = Router(config, folder / "router.log")
    started = time.monotonic()
    ledger = Ledger(lambda: time.monotonic() - started)
    report = Report(options, ledger)
    tls = optionsForClientTLS("localhost", trustRoot=Certificate.loadPEM(server.pem))
    population = Population(
        router.ports, tls, ledger, random, size=options.clients, rate=options.rate, chaos=options.chaos
    )
    sampling = LoopingCall(lambda: report.loads.append((ledger.now(), router.resident())))
    try:
        sampling.start(_SAMPLE_EVERY)
        while not report.rests or ledger.now() < options.seconds - _SHORTEST:
            seconds = min(options.round_seconds, options.seconds / 3, options.seconds - ledger.now())
            await _round(seconds, population, switching, router, report, say)
        _judge(report)
    finally:
        sampling.stop()
        population.stop()
        report.seconds = ledger.now()
        report.accidents = dict(population.accidents)
        report.peak, report.cpu = router.peak(), router.cpu()
        status = router.stop()
    for line in router.faults():
        ledger.wrong(f"the log says: {line}")
    if status:
        ledger.wrong(f"the router ended with status {status}; its log ends:\n{router.last_words()}")
    return report


async def _round(
    seconds: float, population: Population, switching: _Switching, router: Router, report: Report, say: Say
) -> None:
    ledger = report.ledger
    population.start()
    known = len(ledger.problems)
    until = ledger.now() + seconds
    while ledger.now() < until:
        switching.switch(router)
        population.accidents["policies switched"] += 1
        await _sleep(min(_SWITCH_EVERY, until - ledger.now()))
        counts = ledger.counts
        say(
            f"{ledger.now():5.0f} s: {counts['sent']:,} sent, {counts['accepted']:,} accepted, "
            f"{counts['arrived']:,} arrived, {population.accidents.total():,} accidents, "
            f"{router.resident() >> 20} MiB, {counts['problems']} problems"
        )
        for problem in ledger.problems[known:]:
            say(str(problem))
        known = len(ledger.problems)
    if not await switching.end(router):
        ledger.wrong("a reload changed nothing")
    population.calm()
    if not await _comes(lambda: not ledger.unfinished(), _CALM_WITHIN):
        ledger.never_ended()
        _say_what_is_left(router, say)
    await _works(population, ledger)
    if not await _comes(lambda: not (left := router.has())["in_flight"] and not left["held"], _AT_REST_WITHIN):
        ledger.wrong("the router has something in flight or held when all is calm")
        _say_what_is_left(router, say)
    ledger.convict(0.0)
    population.leave()
    await _comes(lambda: not population.peers, _AT_REST_WITHIN)
    await _rests(router, report)


def _say_what_is_left(router: Router, say: Say) -> None:
    left = router.has()
    say(f"the router holds {left['held']}, and has {left['in_flight']} in flight")
    for line in left["busy"]:
        say(f"  {line}")


async def _works(population: Population, ledger: Ledger) -> None:
    """See that every address works, with new clients beside those that are left."""
    made: list[Producer] = []

    def populate(peer: Peer) -> None:
        common = (peer, ledger, population.pace, Random(0))
        for address in ADDRESSES:
            Consumer(*common, address, peer.new_session(), calm=True)
        for address in ADDRESSES:
            producer = Producer(*common, address, peer.new_session(), calm=True)
            producer.finish()
            made.append(producer)

    for safe in (False, True):
        population.connect(populate, safe=safe)
    sent = 0
    if not await _comes(lambda: len(made) == 2 * len(ADDRESSES), _AT_REST_WITHIN):
        ledger.wrong("new clients could not connect when all was calm")
    for _ in range(_CHECKED):
        for producer in made:
            if not await _comes(producer.may_send, _AT_REST_WITHIN):
                ledger.wrong(f"a producer to {producer.link.link.target.address} got no credit when all was calm")
                return
            producer.send()
            sent += 1
    await _comes(lambda: not ledger.unfinished(), _AT_REST_WITHIN)
    outcomes = sum((producer.outcomes for producer in made), start=made[0].outcomes.__class__())
    if outcomes != {"accepted": sent}:
        ledger.wrong(f"of {sent} messages that were sent when all was calm: {dict(outcomes)}")


async def _rests(router: Router, report: Report) -> None:
    """Look at a router that nobody uses."""
    ledger = report.ledger
    if not await _comes(lambda: router.has()["connections"] == 0, _AT_REST_WITHIN):
        ledger.wrong("the router has connections that no client has")
    await _sleep(1.0)
    rest = router.has()
    report.rests.append(rest)
    left = {name: count for name, count in rest["objects"].items() if count}
    left |= {name: rest[name] for name in ("addresses", "temporary", "in_flight", "held") if rest[name]}
    if left:
        ledger.wrong(f"a router that nobody uses still has {left}")


def _judge(report: Report) -> None:
    """Compare what the router had at rest, and see whether it grew under load."""
    rests = report.rests[_WARM_UP:] if len(report.rests) > _WARM_UP + 1 else report.rests
    for what, (allowance, drift) in _STEADY.items():
        wrong = steady([rest[what] for rest in rests], allowance, drift)
        if wrong:
            report.ledger.wrong(f"{what} at rest: {wrong}")
    loads = report.loads[len(report.loads) // 3 :]
    climb = slope(loads) * 60
    if len(loads) >= _ENOUGH and climb > _CLIMB:
        report.ledger.wrong(f"resident under load: rises by {climb:,.0f} bytes a minute, and {_CLIMB:,} is allowed")


async def _sleep(seconds: float) -> None:
    await deferLater(reactor, seconds)


async def _comes(reached: Callable[[], object], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > until:
            return False
        await _sleep(0.05)
    return True
