"""The modest clients: each producer at a fixed rate, its consumer, and how long each message takes to its outcome."""

import time
from array import array

from cproton_ffi import lib

from bench import workers
from bench.consumers import ConsumerConnection
from bench.producers import Paced
from bench.shapes import Traffic
from bench.wire import Loop, Pointer, connect
from bench.workers import ACCEPTED, CROWDED, REFUSED, Counters, Ready, Result

_TURN_SECONDS = 0.05


class _Timed(Paced):
    """A paced producer that keeps every round trip of the measurement, those alone apart from those beside another."""

    def __init__(self, port: int, shape: Traffic, links: range, counters: Counters) -> None:
        super().__init__(port, shape, links, counters)
        self._sent: dict[Pointer, int] = {}
        self.round_trips = (array("q"), array("q"))

    def _send(self, pointer: Pointer, count: int) -> None:
        for _ in range(count):
            self._sent[self.send_one(pointer, self._message, self._size)] = time.monotonic_ns()

    def drain(self) -> None:
        """Settle what came back, and note how long it took."""
        counters = self._counters
        while event := lib.pn_collector_peek(self.collector):
            delivery = lib.pn_event_delivery(event)
            if not delivery:
                self.take_event(event)
            elif lib.pn_delivery_settled(delivery):
                seconds = time.monotonic_ns() - self._sent.pop(delivery)
                accepted = lib.pn_delivery_remote_state(delivery) == lib.PN_ACCEPTED
                counters.values[ACCEPTED if accepted else REFUSED] += 1
                lib.pn_delivery_settle(delivery)
                if counters.phase == workers.MEASURE:
                    self.round_trips[counters[CROWDED]].append(seconds)
            lib.pn_collector_pop(self.collector)


def be_modest(port: int, shape: Traffic) -> workers.Run:
    """The modest clients' process: runs until the phase is CLOSE, and reports the round trips."""

    def run(counters: Counters, ready: Ready) -> Result:
        loop = Loop()
        producers = []
        for number in range(shape.producers):
            consumer = ConsumerConnection(connect(port), f"bench-modest-consumer-{number}", shape, counters)
            consumer.attach(shape, range(number, number + 1))
            producer = _Timed(port, shape, range(number, number + 1), counters)
            loop.add(consumer)
            loop.add(producer)
            producers.append(producer)
        loop.run_until(lambda: all(c.opened_links for c in loop.connections.values()), 60, "modest clients attached")
        ready()
        while counters.phase < workers.CLOSE:
            seconds = _TURN_SECONDS
            if counters.phase < workers.STOP:
                seconds = min(seconds, *(producer.pace() for producer in producers))
            loop.turn(seconds)
        loop.close()
        alone, crowded = array("q"), array("q")
        for producer in producers:
            alone.extend(producer.round_trips[0])
            crowded.extend(producer.round_trips[1])
        return {
            **{f"alone_{key}": value for key, value in workers.percentiles(alone).items()},
            **workers.percentiles(crowded),
        }

    return run
