"""What `txrouter explain` prints of what a router says."""

from __future__ import annotations

from typing import Any

from txrouter.client.explained import table


def consumer(name: str, **more: Any) -> dict[str, Any]:
    return {
        "consumer": name,
        "container": "host",
        "user": "anonymous",
        "credit": 10,
        "in_flight": 0,
        "waiting": 0,
        "drained": False,
        "capacity": 1.0,
        "wanted": 0.5,
        "got": None,
        "mean": None,
        "p95": None,
        **more,
    }


def explained(**more: Any) -> dict[str, Any]:
    return {
        "router": "r1",
        "address": "jobs",
        "policy": "pull",
        "options": {},
        "changed": {},
        "seconds": 1.0,
        "sent": 0,
        "seen": 0,
        "held": 0,
        "returned": 0,
        "producers": [],
        "producers_in_all": 0,
        "consumers": [],
        "consumers_in_all": 0,
        "decisions": [],
        "shadow": None,
        **more,
    }


def test_an_address_with_nobody_is_two_lines() -> None:
    assert table(explained()).splitlines() == [
        "jobs at r1: pull",
        "0 consumers, 0 producers, 0 held; 0 sent in 1 s",
    ]


def test_where_not_all_messages_were_looked_at_it_says_so() -> None:
    assert table(explained(sent=81_234, seen=4_100)).splitlines()[1] == (
        "0 consumers, 0 producers, 0 held; about 81,200 sent in 1 s, 4,100 of them looked at"
    )


def test_consumers_are_in_columns() -> None:
    busy = consumer("c/1", in_flight=3, waiting=2, got=0.75, mean=0.0123, p95=1.5, capacity=2.5)
    said = explained(consumers=[busy, consumer("c/22", drained=True)], consumers_in_all=2, changed={"n": 1})
    assert table(said).splitlines() == [
        "jobs at r1: pull (n = 1)",
        "2 consumers, 0 producers, 0 held; 0 sent in 1 s",
        "",
        "CONSUMER  CONTAINER  USER        CREDIT  IN FLIGHT  CAPACITY  WANTED     GOT     MEAN    P95",
        "c/1       host       anonymous       10      3 + 2       2.5  50.0 %  75.0 %  12.3 ms  1.5 s",
        "c/22      host       anonymous  drained          0         1  50.0 %       -        -      -",
    ]


def test_producers_are_in_columns_and_those_that_are_not_shown_are_counted() -> None:
    one = {"producer": "p/1", "container": "x" * 40, "user": "alice", "credit": 250, "held": 1}
    lines = table(explained(producers=[one], producers_in_all=3)).splitlines()
    assert lines[3:] == [
        "PRODUCER  CONTAINER                         USER   CREDIT  HELD",
        f"p/1       {'x' * 31}…  alice     250     1",
        "… 2 more producers",
    ]


def test_a_decision_says_who_was_chosen_why_and_among_whom() -> None:
    decision = {
        "at": 0.5,
        "chosen": "c/1",
        "why": "the fewest in flight",
        "candidates": [
            {"consumer": "c/1", "score": 0, "credit": 1, "in_flight": 0},
            {"consumer": "c/2", "score": "priority 3", "credit": 12, "in_flight": 1},
            {"consumer": "c/3", "score": None, "credit": 1, "in_flight": 0},
        ],
    }
    assert table(explained(decisions=[decision])).splitlines()[3:] == [
        "after 500 ms: to c/1; the fewest in flight",
        "  > c/1 0           credit 1 0 in flight",
        "    c/2 priority 3 credit 12 1 in flight",
        "    c/3 -           credit 1 0 in flight",
    ]


def test_a_message_that_is_held_is_to_nobody() -> None:
    decision: dict[str, Any] = {"at": 0.0, "chosen": None, "why": "nobody has credit: it is held", "candidates": []}
    assert table(explained(decisions=[decision])).splitlines()[-1] == (
        "after 0 ms: to nobody; nobody has credit: it is held"
    )


def test_a_terminal_obeys_nothing_of_it() -> None:
    said = explained(consumers=[consumer("c", container="\x1b[2J\x07")], consumers_in_all=1)
    assert "\x1b" not in table(said)
    assert r"\x1b[2J\x07" in table(said)
