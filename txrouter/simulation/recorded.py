"""What came of the messages of a trace when it was recorded, beside what simulations make of them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from txrouter.simulation.jobs import Passage
from txrouter.simulation.outcome import SAMPLES, Run, Sample
from txrouter.simulation.scenario import Server

__all__ = ["as_recorded"]


def as_recorded(passages: Sequence[Passage], servers: Sequence[Server]) -> Run:
    """What was recorded, in figures. Times are from when the router had a message until its consumer settled it.

    :param passages: what is known of the messages, at least one, in the order they came.
    :param servers: the consumers, all of them.
    """
    came = sorted(each.at for each in passages)
    left = sorted(each.sent for each in passages)
    sent: dict[str, list[float]] = {server.name: [] for server in servers}
    done: dict[str, list[float]] = {server.name: [] for server in servers}
    for each in passages:
        sent[each.consumer].append(each.sent)
        done[each.consumer].append(each.settled)
    for times in (*sent.values(), *done.values()):
        times.sort()
    samples = []
    for number in range(1, SAMPLES + 1):
        at = came[-1] * number / SAMPLES
        has = [bisect_right(sent[each.name], at) - bisect_right(done[each.name], at) for each in servers]
        samples.append(Sample(at, bisect_right(came, at) - bisect_right(left, at), has))
    return Run(
        title="as recorded",
        times=[each.settled - each.at for each in passages],
        unfinished=0,
        sent_again=0,
        policy_errors=0,
        seconds=max(each.settled for each in passages),
        servers=list(servers),
        done=[len(done[server.name]) for server in servers],
        samples=samples,
    )
