"""How much each consumer takes, relative to others: who says so, and for how long.

What is configured, what a consumer's link says, and what is heard later comes together here; whose word counts, `known`
says. What makes no sense is ignored, counted and reported.

Nothing is asked for here: `Asks` does that for whoever has a socket, and calls `answered` or `failed`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import TYPE_CHECKING, Protocol

from txrouter.core.addresses import is_reserved
from txrouter.core.alarms import Alarms
from txrouter.core.capacity_rules import CAPACITY, HEALTH_URL, CapacityRule, Matcher
from txrouter.core.health import Health, Heard, Target
from txrouter.core.known import Known
from txrouter.core.signals import capacity_of, signal_of
from txrouter.core.users import SHOWN

if TYPE_CHECKING:
    from txrouter.core.links import Consumer
    from txrouter.core.router import Router
    from txrouter.core.users import User

__all__ = ["Asks", "Capacities", "CapacityRule", "NotAllowed"]


class NotAllowed(Exception):
    """A client reported what it may not say."""


class Asks(Protocol):
    """Who asks at health addresses."""

    def begin(self, target: Target) -> None:
        """Ask there, now and then."""

    def end(self, target: Target) -> None:
        """Ask there no more."""


class _Nobody:
    """Nobody asks."""

    def begin(self, target: Target) -> None:
        pass

    def end(self, target: Target) -> None:
        pass


class Capacities:
    """Those of one router's consumers.

    :param rules: what is configured. Of those that are for a consumer, the first that has a `value`, a `property` or a
        health address decides about that.
    """

    def __init__(self, router: Router, rules: Sequence[CapacityRule] = ()) -> None:
        self._router = router
        self._take(rules)
        self.asks: Asks = _Nobody()
        self.targets: dict[Target, Health] = {}
        self._known: dict[Consumer, Known] = {}
        self._of: dict[str, dict[Known, None]] = {}
        """The same, by the containers of their clients."""
        self._alarms: Alarms[Known | Health] = Alarms()
        """When something that was heard may have expired."""

    def _take(self, rules: Sequence[CapacityRule]) -> None:
        self._matchers = [Matcher(rule) for rule in rules]
        self.claims = frozenset({CAPACITY}.union(*(rule.claims for rule in rules)))
        """Link properties by which a consumer says how much it is to get."""

    def use(self, rules: Sequence[CapacityRule]) -> None:
        """Other rules are configured from now on. What was said stays; what a health address said, if it is the same
        for somebody."""
        self._take(rules)
        before = {known: known.health for known in self._known.values()}
        for known in before:
            known.fixed = known.own = known.health = None
            self._look_up(known)
        for known, health in before.items():
            if health is not None and health is not known.health:
                self._let_go(known.consumer, health)
            self._apply(known)

    # -- consumers come and go ---------------------------------------------------------------------

    def join(self, consumer: Consumer) -> None:
        """A consumer attaches; its policy has not heard of it."""
        assert consumer.source is not None
        if is_reserved(consumer.source.name):
            return  # it is the router itself
        known = self._known[consumer] = Known(consumer)
        self._of.setdefault(consumer.container, {})[known] = None
        self._look_up(known)
        verdict = known.verdict()
        consumer.capacity = verdict.capacity
        consumer.barred = verdict.barred

    def _look_up(self, known: Known) -> None:
        """What is configured for it, and what its link says."""
        properties = known.consumer.properties
        property = CAPACITY
        if self._matchers:
            property = self._consult_rules(known) or CAPACITY
        if property in properties and self._may_say(known, property):
            try:
                known.own = capacity_of(properties[property])
            except ValueError as error:
                self._ignore([known], f"link property {property}", error)

    def _consult_rules(self, known: Known) -> str | None:
        """Returns the link property by which it says its capacity."""
        consumer = known.consumer
        property: str | None = None
        asked = False
        for matcher in self._matchers:
            rule = matcher.rule
            if not matcher.matches(consumer):
                continue
            if known.fixed is None:
                known.fixed = rule.value
            property = property or rule.link_property
            if rule.asks and not asked:
                asked = True
                if rule.client_urls and HEALTH_URL in consumer.properties and not self._may_say(known, HEALTH_URL):
                    continue
                try:
                    target = rule.target(consumer)
                except ValueError as error:
                    self._router.counters["refused_health_urls"] += 1
                    self._report("health address refused", known, "", error)
                    continue
                if target is not None:
                    self._ask(known, target)
        return property

    def _may_say(self, known: Known, property: str) -> bool:
        """Whether it may say by this link property how much it gets. What was no such property when it attached, and is
        one by other rules, nobody has asked about."""
        refusal = self._refusal(known)
        if refusal is not None:
            known.ignored = f"link property {property}: {refusal}"
        return refusal is None

    def _refusal(self, known: Known) -> str | None:
        """Why it may not say how much it gets; None if it may."""
        permit = known.consumer.permit
        refusal = permit.refusal("capacity") if permit is not None else None
        if refusal is not None:
            self._router.counters["unauthorized_reports"] += 1
        return refusal

    def _ask(self, known: Known, target: Target) -> None:
        health = self.targets.get(target)
        if health is None:
            health = self.targets[target] = Health(target)
            self.asks.begin(target)
        health.consumers[known.consumer] = None
        known.health = health

    def leave(self, consumer: Consumer) -> None:
        """It is gone."""
        known = self._known.pop(consumer, None)
        if known is None:
            return
        others = self._of[consumer.container]
        del others[known]
        if not others:
            del self._of[consumer.container]
        self._alarms.clear(known)
        if known.health is not None:
            self._let_go(consumer, known.health)

    def _let_go(self, consumer: Consumer, health: Health) -> None:
        del health.consumers[consumer]
        if not health.consumers:
            del self.targets[health.target]
            self._alarms.clear(health)
            self.asks.end(health.target)

    # -- somebody says something -------------------------------------------------------------------

    def answered(self, target: Target, answer: object) -> None:
        """This is how those are whose health address it is."""
        health = self.targets.get(target)
        if health is None:
            return
        try:
            health.heard = self._heard(answer, target.expires)
        except ValueError as error:
            self._wrong(health, str(error))
            self._ignore([self._known[each] for each in health.consumers], "health address", error)
            return
        health.error = ""
        health.failures = 0
        self._alarms.set(health, health.heard.until)
        self._apply_to_all(health)

    def failed(self, target: Target, why: str) -> None:
        """No answer came. The last one holds until it expires."""
        health = self.targets.get(target)
        if health is not None:
            self._router.counters["failed_health_checks"] += 1
            if not health.failures:
                known = self._known[next(iter(health.consumers))]
                self._router.report("health check failed", {"url": target.url} | known.who() | {"error": why})
            self._wrong(health, why)

    def _wrong(self, health: Health, why: str) -> None:
        health.error = why
        health.failures += 1

    def report(
        self, container: str, link: str | None, user: User, value: object, *, seconds: float | None = None
    ) -> int:
        """A client reports for its own consumers.

        :param container: its container id; consumers of others are not its to speak for.
        :param link: what it calls the link; None for all that it has.
        :param user: who it is; see `User.may_speak_for`.
        :param value: a number, or words as a health address has them; `ready` is as if it had reported nothing.
        :param seconds: how long that holds; None until it reports again.
        :return: for how many consumers it was. It is 0 if there is none such.
        :raise NotAllowed: the access rules do not let it; what it said changes nothing.
        :raise ValueError: it makes no sense. It is counted and reported.
        """
        mine = [known for known in self._of.get(container, ()) if _is_its(known.consumer, link, user)]
        for known in mine:
            refusal = self._refusal(known)
            if refusal is not None:
                raise NotAllowed(refusal)
        try:
            heard = self._heard(value, _duration(seconds))
        except ValueError as error:
            self._ignore(mine, "report", error)
            raise
        for known in mine:
            known.report = heard
            if heard.until < inf:
                self._alarms.set(known, heard.until)
            self._apply(known)
        return len(mine)

    def tell(self, consumer: Consumer, value: object, *, seconds: float | None = None) -> None:
        """An operator says how it is to be with a consumer: `drain`, a capacity, or any other signal; None takes back
        what was said.

        :param seconds: how long that holds; None for as long as it is attached.
        :raise ValueError: it makes no sense.
        :raise KeyError: it is not attached.
        """
        known = self._known[consumer]
        known.operator = None if value is None else self._heard(value, _duration(seconds))
        if known.operator is not None and known.operator.until < inf:
            self._alarms.set(known, known.operator.until)
        self._apply(known)

    def _heard(self, said: object, seconds: float) -> Heard:
        """:raise ValueError: it makes no sense."""
        signal = signal_of(said)
        now = self._router.now
        return Heard(signal, said.strip()[:SHOWN] if isinstance(said, str) else said, now, now + seconds)

    def _ignore(self, several: list[Known], source: str, error: ValueError) -> None:
        """What was said of these makes no sense."""
        self._router.counters["bad_capacities"] += 1
        for known in several:
            known.ignored = f"{source}: {error}"
        if several:
            self._report("capacity ignored", several[0], source, error)

    def _report(self, event: str, known: Known, source: str, error: Exception) -> None:
        fields = known.who() | ({"source": source} if source else {})
        self._router.report(event, fields | {"error": str(error)})

    # -- what it comes to --------------------------------------------------------------------------

    def _apply(self, known: Known) -> None:
        consumer = known.consumer
        verdict = known.verdict()
        if verdict.barred:
            self._router.rota.bar(consumer)
        if verdict.capacity != consumer.capacity:
            self._router.set_capacity(consumer, verdict.capacity)
        if not verdict.barred:
            self._router.rota.unbar(consumer)

    def _apply_to_all(self, health: Health) -> None:
        for consumer in health.consumers:
            self._apply(self._known[consumer])

    # -- time --------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `wake` is to be called next, on the router's clock; None for never."""
        return self._alarms.next_deadline()

    def wake(self) -> None:
        """Forget what has expired."""
        for thing in list(self._alarms.due(self._router.now)):
            if isinstance(thing, Health):
                self._expire_health(thing)
            else:
                self._expire(thing)

    def _expire_health(self, health: Health) -> None:
        heard = health.heard
        if heard is not None and heard.until > self._router.now:
            self._alarms.set(health, heard.until)
        else:
            health.heard = None
            self._router.counters["stale_capacities"] += len(health.consumers)
            self._apply_to_all(health)

    def _expire(self, known: Known) -> None:
        now = self._router.now
        stale = 0
        if known.report is not None and known.report.until <= now:
            known.report = None
            stale += 1
        if known.operator is not None and known.operator.until <= now:
            known.operator = None
        for heard in (known.report, known.operator):
            if heard is not None and heard.until < inf:
                self._alarms.set(known, heard.until)
        self._router.counters["stale_capacities"] += stale
        self._apply(known)

    # -- for people --------------------------------------------------------------------------------

    def consumers(self) -> Collection[Consumer]:
        """All of which something can be known: those of clients."""
        return self._known.keys()

    def describe(self, consumer: Consumer) -> dict[str, object]:
        """A consumer's capacity, whose word it is, and all that was said of it, in plain JSON-able values.

        :raise KeyError: it is not attached.
        """
        return self._known[consumer].describe(self._router.now)


def _is_its(consumer: Consumer, link: str | None, user: User) -> bool:
    return user.may_speak_for(consumer.user) and link in (None, consumer.name)


def _duration(seconds: float | None) -> float:
    """:raise ValueError: it is no time."""
    if seconds is None:
        return inf
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 86_400 * 365:
        raise ValueError("it is to hold for a number of seconds above 0, up to a year")
    return float(seconds)
