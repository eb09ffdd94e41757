"""What a config says of consumers' capacity: what it means, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from txrouter.config import Config, ConfigError
from txrouter.core.capacity_rules import CapacityRule


def problems(*tables: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Config.from_dict({"capacity": list(tables)})
    return list(raised.value.problems)


def test_without_a_word_there_are_no_rules() -> None:
    assert Config.default().capacities() == []


def test_what_is_said_of_all_there_is() -> None:
    tables = [
        {"containers": ["gpu-*"], "users": ["alice"], "links": ["l"], "addresses": ["jobs.*"], "value": 8},
        {"property": "gpus"},
        {
            "url": "http://{host}:9999/health",
            "client_urls": ["http://{host}:9999/"],
            "field": "load[0].free",
            "every": 1,
            "timeout": 0.5,
            "expires": 10,
        },
    ]
    assert Config.from_dict({"capacity": tables}).capacities() == [
        CapacityRule(("alice",), ("gpu-*",), ("l",), ("jobs.*",), value=8.0),
        CapacityRule(link_property="gpus"),
        CapacityRule(
            url="http://{host}:9999/health",
            client_urls=("http://{host}:9999/",),
            field=("load", 0, "free"),
            every=1.0,
            timeout=0.5,
            expires=10.0,
        ),
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"value": 0}, "value: 0.0 is not from 1e-09 to 1e+15"),
        ({"value": -1}, "value: -1.0 is not from 1e-09 to 1e+15"),
        ({"value": 1e300}, "value: 1e+300 is not from 1e-09 to 1e+15"),
        ({"value": float("nan")}, "value: must be a finite number"),
        ({"value": True}, "value: must be a number, not true"),
        ({"value": "8"}, 'value: must be a number, not "8"'),
        ({"property": ""}, "property: must not be empty"),
        ({"containers": []}, "containers: must not be empty; `*` is any"),
        ({"users": ["a", ""]}, "users[1]: must not be empty"),
        ({"links": "l"}, 'links: must be an array, not "l"'),
        ({"addresses": ["a*"]}, "addresses[0]: the pattern 'a*' has a wildcard inside the token 'a*'"),
        ({"url": "there/health"}, "url: 'there/health' is no URL of http:// or https://"),
        ({"url": "http://{name}/"}, "url: {name} is unknown; there are: {host}, {container}"),
        (
            {"url": "http://{container}/"},
            "url: {container} may not be in the host: every client says itself what it is called",
        ),
        (
            {"client_urls": ["http://there/?x"]},
            "client_urls[0]: a client may add what it likes behind it, so it ends with a path",
        ),
        (
            {"client_urls": ["http://there/{container}"]},
            "client_urls[0]: {container} is of no use here: a client that says where it is asked says all of it",
        ),
        ({"field": "a..b"}, "field: 'a..b' is no place in a JSON document, as `load.cpus[0].free` is one"),
        ({"every": 0}, "every: must be at least 0.1"),
        ({"timeout": 61}, "timeout: must be at most 60"),
        ({"expires": 0}, "expires: must be above 0"),
        ({"expires": 7.5}, "expires: must be more than every, a tenth of it, and timeout together (7.5)"),
        ({"urls": "http://there/"}, "urls: is unknown; did you mean 'url'?"),
    ],
)
def test_a_problem_is_said_with_its_path(keys: dict[str, Any], problem: str) -> None:
    assert problems({"url": "http://there/", **keys}) == [f"capacity[0].{problem}"]


def test_what_says_nothing_is_a_mistake() -> None:
    assert problems({"containers": ["a"]}) == ["capacity[0]: has none of value, property, url and client_urls"]


def test_how_to_ask_is_of_no_use_without_where() -> None:
    said = "is used only with url or client_urls"
    assert problems({"value": 1, "field": "a", "every": 1}) == [
        f"capacity[0].field: {said}",
        f"capacity[0].every: {said}",
    ]


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems({"value": 0}, {"property": ""}, {"url": "x"})) == 3
