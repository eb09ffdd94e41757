"""How an address is spelt, which distribution it is given, and where an anonymous producer's message goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.fakes import Stage, distribution
from txrouter.core.addresses import MAX_LENGTH, AddressTable, Distribution, Patterns, normalise, tokens
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import ACCEPTED
from txrouter.policies import pull, round_robin, weighted

# -- one spelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "/x", "amqp:/x", "amqp://host:5672/x", "amqp://host/x", "amqps://host/x"])
def test_an_address_can_be_spelt_in_several_ways(name: str) -> None:
    assert normalise(name) == "x"


@pytest.mark.parametrize("name", ["amqp:x", "//x", "x/", "x.", "X", "http://host/x"])
def test_what_only_looks_like_another_spelling_is_another_address(name: str) -> None:
    assert normalise(name) != "x"


@pytest.mark.parametrize("name", ["a/b.c", "_topo/0/r1/a", "_local/a", "x?y#z", "ä/ö", "a//b"])
def test_everything_behind_the_beginning_is_kept(name: str) -> None:
    assert normalise(name) == normalise("/" + name) == normalise("amqp:/" + name) == name


@pytest.mark.parametrize("name", ["", "/", "amqp:/", "amqp://", "amqp://host", "amqp://host:5672/"])
def test_nothing_is_no_address(name: str) -> None:
    with pytest.raises(ValueError, match="names no address"):
        normalise(name)


def test_an_address_has_a_greatest_length() -> None:
    longest = "x" * MAX_LENGTH
    assert normalise("/" + longest) == longest
    with pytest.raises(ValueError, match=rf"of {MAX_LENGTH + 1} characters; at most {MAX_LENGTH}"):
        normalise(longest + "x")


@given(st.text(st.sampled_from("amqps:/.x"), max_size=12))
def test_a_normalised_address_is_left_alone_unless_it_begins_like_a_spelling(name: str) -> None:
    try:
        path = normalise(name)
    except ValueError:
        return
    if not path.startswith(("/", "amqp:/", "amqps:/")):
        assert normalise(path) == path


# -- patterns and prefixes -------------------------------------------------------------------------

DEFAULT = distribution(pull.factory)


def table(*patterns: str, prefixes: tuple[str, ...] = ()) -> tuple[AddressTable, dict[int, str]]:
    """A table, and what is written in it by the identity of the distribution it leads to."""
    made = AddressTable(DEFAULT)
    written = {id(DEFAULT): "default"}
    for pattern in patterns:
        made.add_pattern(pattern, _note(written, pattern))
    for prefix in prefixes:
        made.add_prefix(prefix, _note(written, prefix))
    return made, written


def _note(written: dict[int, str], name: str) -> Distribution:
    each = Distribution(round_robin.factory, round_robin.Options())
    written[id(each)] = name
    _kept.append(each)
    return each


_kept: list[Distribution] = []


def found(address: str, *patterns: str, prefixes: tuple[str, ...] = ()) -> str:
    """Which of the patterns or prefixes an address is given to."""
    made, written = table(*patterns, prefixes=prefixes)
    return written[id(made.find(address))]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a", ["a"], ["b", "ab", "a.b", "a/b", "A", "a."]),
        ("a.b", ["a.b", "a/b"], ["a", "b", "ab", "a.b.c", "a..b"]),
        ("a.*", ["a.b", "a/b", "a.*", "a.#", "a."], ["a", "a.b.c", "ab"]),
        ("*.b", ["a.b", "x/b"], ["b", "a.a.b"]),
        ("a.#", ["a", "a.b", "a/b.c", "a."], ["ab", "b", "b.a"]),
        ("#.b", ["b", "a.b", "x/y.b"], ["b.a", "ab"]),
        ("a.#.b", ["a.b", "a.x.b", "a/x/y/b"], ["a", "b", "a.b.c"]),
        ("a.#.b.#.c", ["a.b.c", "a.b.b.c", "a.x.b.y.z.c"], ["a.c", "a.x.c", "a.b"]),
        ("#", ["a", "a.b.c", "/", "#", "*"], []),
        ("*", ["a", "*", "#"], ["a.b"]),
        ("*.#", ["a", "a.b", "a.b.c"], []),
        ("/a", ["a"], ["x"]),
        ("amqp:/a/b", ["a.b"], ["amqp:/a/b"]),
    ],
)
def test_a_pattern_matches_token_by_token(pattern: str, matching: list[str], others: list[str]) -> None:
    assert {address: found(address, pattern) for address in matching} == dict.fromkeys(matching, pattern)
    assert {address: found(address, pattern) for address in others} == dict.fromkeys(others, "default")


@pytest.mark.parametrize("prefix", ["a/b", "a.b", "/a/b", "a/b/", "a/b.", "amqp:/a/b"])
def test_a_prefix_matches_itself_and_everything_below_at_a_boundary(prefix: str) -> None:
    for address in ("a/b", "a.b", "a/b/c", "a/b.c", "a/b/c/d", "a/b/"):
        assert found(address, prefixes=(prefix,)) == prefix
    for address in ("a", "a/bc", "a/b-c", "a/b:c", "x/a/b", "A/b"):
        assert found(address, prefixes=(prefix,)) == "default"


@pytest.mark.parametrize(
    ("address", "patterns", "winner"),
    [
        ("a.b", ["a.b", "a.*", "a.#", "#"], "a.b"),
        ("a.b", ["#", "a.#", "a.*"], "a.*"),
        ("a.b", ["#", "a.#"], "a.#"),
        ("a.b", ["a.*", "*.b"], "a.*"),
        ("a.b", ["*.b", "#"], "*.b"),
        ("a.b", ["*.*", "#.b"], "*.*"),
        ("a", ["a", "a.#"], "a"),
        ("a", ["a.#", "*"], "a.#"),
        ("a.b.c", ["a.#", "a.b.#"], "a.b.#"),
        ("a.b.c", ["*.b.c", "a.#"], "a.#"),
        # the better token leads nowhere: the next best is tried
        ("a.b.c", ["a.b.d", "a.*.c", "#"], "a.*.c"),
        ("a.x.c", ["a.x.d", "a.*.d", "a.#.c"], "a.#.c"),
    ],
)
def test_the_literal_wins_over_the_star_and_the_star_over_the_hash(
    address: str, patterns: list[str], winner: str
) -> None:
    assert found(address, *patterns) == found(address, *reversed(patterns)) == winner


def test_a_prefix_is_the_pattern_with_a_hash_behind() -> None:
    assert found("a.b.c", "a.*.c", prefixes=("a",)) == "a.*.c"
    assert found("a.b", "*.b", prefixes=("a",)) == "a"
    assert found("a", "a", prefixes=("/a",)) == "a"
    assert found("a.b", "a", prefixes=("/a",)) == "/a"


def derivations(pattern: list[str], address: list[str]) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every way that a pattern matches an address, as the steps taken; the smallest is the most literal."""
    if not pattern:
        if not address:
            yield ((2, 0),)
    elif pattern[0] == "#":
        for count in range(len(address) + 1):
            for rest in derivations(pattern[1:], address[count:]):
                yield ((3, count), *rest)
    elif address and pattern[0] in ("*", address[0]):
        for rest in derivations(pattern[1:], address[1:]):
            yield ((pattern[0] == "*", 0), *rest)


TOKENS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=4)


@given(
    patterns=st.lists(TOKENS, max_size=8, unique_by=tuple),
    address=st.lists(st.sampled_from(["a", "b", "c", "*", "#"]), min_size=1, max_size=5),
)
def test_the_best_of_all_ways_to_match_is_found(patterns: list[list[str]], address: list[str]) -> None:
    ways = {way: ".".join(each) for each in patterns for way in derivations(each, address)}
    best = ways[min(ways)] if ways else "default"
    assert found("/".join(address), *map(".".join, patterns)) == best


def test_a_wildcard_in_an_address_is_a_character_like_any_other() -> None:
    assert found("#", "a") == "default"
    assert found("*", "a") == "default"
    assert found("#.b", "#.c") == "default"
    assert found("x.#", "x.#.y") == "default"
    assert found("x.*", "x.*.y") == "default"
    assert found("#", "*", "#") == "*"
    assert found("#.b", "#.b", "*.b") == "*.b"


def test_looking_up_a_long_address_in_hostile_patterns_ends_soon() -> None:
    pattern = "#." + ".".join(["a.#"] * 6) + ".end"
    address = ".".join(["a"] * 300)
    assert found(address, pattern) == "default"
    assert found(address + ".end", pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a..b", "the pattern 'a..b' has an empty token"),
        ("a.", "the pattern 'a.' has an empty token"),
        ("//a", "the pattern '//a' has an empty token"),
        ("a*", "the pattern 'a*' has a wildcard inside the token 'a*'"),
        ("a.**", "the pattern 'a.**' has a wildcard inside the token '**'"),
        ("x#y", "the pattern 'x#y' has a wildcard inside the token 'x#y'"),
        ("", "'' names no address"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        table(pattern)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("a..b", "the prefix 'a..b' has an empty token"),
        (".", "the prefix '.' has an empty token"),
        ("a.#", "the prefix 'a.#' has a wildcard; only a pattern may"),
        ("a*", "the prefix 'a*' has a wildcard; only a pattern may"),
        ("/", "'/' names no address"),
    ],
)
def test_a_bad_prefix_says_what_is_wrong(prefix: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        table(prefixes=(prefix,))


@pytest.mark.parametrize(
    ("patterns", "prefixes"),
    [
        (["a.b", "a.b"], ()),
        (["a.b", "a/b"], ()),
        (["a", "/a"], ()),
        (["a.#"], ("a",)),
        ([], ("a/b", "a.b/")),
        (["#", "#"], ()),
    ],
)
def test_a_duplicate_is_an_error(patterns: list[str], prefixes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is there twice"):
        table(*patterns, prefixes=prefixes)


def test_a_pattern_that_was_refused_leaves_nothing_behind() -> None:
    made, written = table("a.b")
    with pytest.raises(ValueError, match="twice"):
        made.add_pattern("a/b", distribution(weighted.factory))
    assert written[id(made.find("a.b"))] == "a.b"
    assert made.find("a") is DEFAULT


@pytest.mark.parametrize(("path", "expected"), [("a", ["a"]), ("a/b.c", ["a", "b", "c"]), ("a/", ["a", ""])])
def test_tokens_split_at_slashes_and_dots(path: str, expected: list[str]) -> None:
    assert tokens(path) == expected


class Counted(Patterns[str]):
    """Patterns that count the steps of a look-up."""

    steps = 0

    def _match(self, *arguments: Any) -> str | None:
        self.steps += 1
        return super()._match(*arguments)


@pytest.mark.parametrize("pattern", ["#.x.#.y", "#.#.#.y", "*.#.*.#.y"])
def test_a_look_up_takes_steps_in_proportion_to_the_tokens(pattern: str) -> None:
    patterns = Counted()
    patterns.add(tokens(pattern), "it")
    patterns.find(".".join("x" * 1000))
    assert patterns.steps < 10 * 1000


def test_a_pattern_has_a_greatest_number_of_tokens() -> None:
    table = AddressTable(distribution(pull.factory))
    table.add_pattern(".".join("x" * 100), distribution(weighted.factory))
    with pytest.raises(ValueError, match="has 101 tokens; at most 100"):
        table.add_pattern(".".join("x" * 101), distribution(weighted.factory))
    with pytest.raises(ValueError, match="has 101 tokens; at most 100"):
        table.add_prefix(".".join("y" * 100), distribution(weighted.factory))


# -- addresses of a router -------------------------------------------------------------------------


def test_each_address_has_a_policy_of_its_own_of_the_kind_that_is_configured() -> None:
    stage = Stage(pull.factory)
    stage.router.policies.table.add_prefix("turns", distribution(round_robin.factory))
    for name in ("q", "turns/a", "turns/b"):
        stage.consumer(name)
    policies = [stage.address(name).policy for name in ("q", "turns/a", "turns/b")]
    assert [type(policy) for policy in policies] == [pull.Pull, round_robin.RoundRobin, round_robin.RoundRobin]
    assert len(set(map(id, policies))) == 3


def test_an_address_exists_as_long_as_somebody_is_attached() -> None:
    stage = Stage()
    producer, consumer = stage.producer("q"), stage.consumer("q")
    first = stage.address("q")
    producer.leaves()
    assert stage.address("q") is first
    consumer.leaves()
    assert stage.router.addresses == {}
    stage.producer("q").leaves()
    assert stage.router.addresses == {}


def test_the_same_seed_makes_the_same_chance_for_an_address() -> None:
    drawn: list[float] = []

    class Dice:
        name, summary, options = "dice", "draws", round_robin.Options

        def build(self, options: object, random: object) -> object:
            drawn.append(random.random())  # type: ignore[attr-defined]
            return round_robin.RoundRobin()

    for _ in range(2):
        stage = Stage(Dice())
        stage.consumer("a")
        stage.consumer("b")
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]


# -- anonymous producers ---------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["q", "/q", "amqp:/q", "amqp://host:5672/q", "_topo/0/here/q", "amqp:/_topo/0/here/q"])
def test_the_to_of_an_anonymous_producers_message_says_where_it_goes(to: str) -> None:
    stage = Stage()
    consumer, other = stage.consumer("q", credit=1), stage.consumer("r", credit=1)
    message = stage.producer(None).sends(to=to)
    assert (consumer.got, other.got) == ([message], [])
    assert message.address == "q"
    consumer.settles(message, ACCEPTED)
    assert message.outcome is ACCEPTED


@pytest.mark.parametrize(
    "to", [None, "", "/", "nobody", 7, b"q", "_topo/0/elsewhere/q", "_topo/0/here/temp.gone", "x" * (MAX_LENGTH + 1)]
)
def test_a_message_for_nobody_is_released_and_its_credit_given_back(to: object) -> None:
    stage = Stage(link_capacity=4)
    stage.consumer("q", credit=9)
    producer = stage.producer(None)
    message = producer.sends(to=to)
    assert message.outcome is not None
    assert message.outcome.state == "released"
    for _ in range(10):
        producer.sends(to=to)
        stage.turn()
    assert producer.may_send > 0
    assert producer.credit == producer.may_send


def test_a_producer_alone_does_not_make_an_address_for_an_anonymous_one() -> None:
    stage = Stage()
    stage.producer("q")
    message = stage.producer(None).sends(to="q")
    assert message.outcome is not None
    assert message.outcome.state == "released"


def test_a_to_that_cannot_be_read_is_a_decode_error() -> None:
    stage = Stage()
    stage.consumer("q", credit=1)
    message = stage.producer(None).sends(to=Malformed)
    assert message.outcome is not None
    assert (message.outcome.state, message.outcome.condition) == ("rejected", "amqp:decode-error")
    assert stage.counters["rejected"] == 1


def test_a_held_message_of_an_anonymous_producer_does_not_hold_up_the_next_for_another_address() -> None:
    stage = Stage()
    stuck, free = stage.consumer("stuck"), stage.consumer("free", credit=1)
    producer = stage.producer(None)
    held, sent = producer.sends(to="stuck"), producer.sends(to="free")
    assert held.is_held
    assert free.got == [sent]
    stuck.grants(1)
    assert stuck.got == [held]


def test_an_address_on_this_router_may_be_spelt_with_its_place_in_the_network() -> None:
    router = Stage().router
    assert router.resolve("_topo/0/here/x/y") == "x/y"
    assert router.resolve("_topo/0/elsewhere/x") == "_topo/0/elsewhere/x"
    assert router.resolve("_local/x") == "_local/x"
    assert router.resolve("x") == "x"
