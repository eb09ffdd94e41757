"""Health addresses: what a config makes of them for a consumer, and what a client may ask for."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txrouter.core.health import check_url, field_of, found_at, is_within, written_out


@pytest.mark.parametrize(
    ("url", "host", "container", "result"),
    [
        ("http://{host}:9999/health", "192.0.2.7", "c", "http://192.0.2.7:9999/health"),
        ("http://{host}:9999/", "2001:db8::7", "c", "http://[2001:db8::7]:9999/"),
        ("http://{host}:9999/", "two words", "c", None),
        ("http://{host}:9999/", "", "c", None),
        ("http://there/{container}", "", "c", "http://there/c"),
        ("http://there/{container}/load?of={container}", "", "a/b?c", "http://there/a%2Fb%3Fc/load?of=a%2Fb%3Fc"),
        ("http://there/{container}", "192.0.2.7", "{host}", "http://there/%7Bhost%7D"),
        ("http://there/{container}", "", "ü\r\n", "http://there/%C3%BC%0D%0A"),
        ("http://there/{container}", "", "x" * 3_000, None),
        ("http://there/{container}/load", "", "..", None),
        ("http://there/{container}", "", "\ud800", None),
    ],
)
def test_a_url_is_written_out_for_a_consumer(url: str, host: str, container: str, result: str | None) -> None:
    assert written_out(url, host, container) == result


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("{host}:9999/health", "is no URL of http"),
        ("ftp://there/", "is no URL of http"),
        ("http:///path", "is no URL of http"),
        ("http://there:99999/", "Port out of range"),
        ("http://there:/", "has no port"),
        ("http://there:0/", "has no port"),
        ("http://there:x/", "Port could not be cast"),
        ("http://me@there/", "a user cannot be in a URL"),
        ("http://there/ x", "' ' cannot be in a URL"),
        ("http://there/x/../y", "`..` cannot be in the path"),
        ("http://there/#x", "'#' cannot be in a URL"),
        ("http://there/\\x", r"cannot be in a URL"),
        ("http://there/{user}", "{user} is unknown; there are: {host}, {container}"),
        ("http://{container}/health", "{container} may not be in the host"),
        ("http://{container}.example.com/health", "{container} may not be in the host"),
        ("http://there/" + "x" * 2_048, "characters; at most 2048"),
    ],
)
def test_what_is_wrong_with_a_url_of_a_config_is_said(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:9999/health",
        "http://10.0.0.1:9999/health/",
        "http://10.0.0.1:9999/health/deep?of=x",
        "http://10.0.0.1:9999/health?x",
        "HTTP://10.0.0.1:9999/health",
    ],
)
def test_a_client_may_ask_for_what_is_below_what_it_is_allowed(url: str) -> None:
    assert is_within(url, "http://10.0.0.1:9999/health")
    assert is_within(url, "http://10.0.0.1:9999/health/")
    assert is_within(url, "http://10.0.0.1:9999")


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1:9999/health",
        "http://10.0.0.1/health",
        "http://10.0.0.1:9998/health",
        "http://10.0.0.2:9999/health",
        "http://10.0.0.1:9999",
        "http://10.0.0.1:9999/healthy",
        "http://10.0.0.1:9999/health/../admin",
        "http://10.0.0.1:9999/health/%2e%2E/admin",
        "http://10.0.0.1:9999/health/.%2e",
        "http://10.0.0.1:9999/health/x%2F..%2F..%2Fadmin",
        "http://10.0.0.1:9999/health/x%5c..%5cadmin",
        "http://10.0.0.1:9999@evil.example/health",
        "http://evil.example#10.0.0.1:9999/health",
        "http://evil.example\\@10.0.0.1:9999/health",
        "http://10.0.0.1:9999/health\r\nX: y",
        "http://10.0.0.1.:9999/health",
        "http://[::ffff:10.0.0.1]:9999/health",
        "http://167772161:9999/health",
        "http://10.0.0.1:09999x/health",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
)
def test_a_client_may_not_ask_for_anything_else(url: str) -> None:
    assert not is_within(url, "http://10.0.0.1:9999/health")


def test_the_usual_port_need_not_be_said() -> None:
    assert is_within("http://there:80/x", "http://there/")
    assert is_within("https://there/x", "https://there:443/")


PIECES = ["/", "/of", ".", "..", "%2e", "@", ":", "?", "#", "[", "a", "{host}"]
SEGMENTS = st.lists(st.sampled_from(PIECES)).map("".join)


@given(SEGMENTS | st.text())
def test_whatever_a_container_is_called_it_leads_nowhere_else(container: str) -> None:
    result = written_out("http://there:9999/of/{container}", "", container)
    assert result is None or is_within(result, "http://there:9999/of")


@given(SEGMENTS | st.text())
def test_whatever_a_client_asks_for_it_is_at_the_place_it_may_ask(rest: str) -> None:
    url = "http://there:9999" + rest
    if is_within(url, "http://there:9999/of"):
        parts = urlsplit(url)
        assert (parts.netloc, parts.path[:3]) == ("there:9999", "/of")


@pytest.mark.parametrize(
    ("written", "way"),
    [
        ("free", ("free",)),
        ("load.cpus[0].free", ("load", "cpus", 0, "free")),
        ("[1][12]", (1, 12)),
        ("a.0.b", ("a", "0", "b")),
        ("a b.c-d", ("a b", "c-d")),
    ],
)
def test_a_field_is_a_way_into_a_document(written: str, way: tuple[str | int, ...]) -> None:
    assert field_of(written) == way


@pytest.mark.parametrize(
    "written", ["", ".", "a.", ".a.", "a..b", "a[", "a[x]", "a[-1]", "a[01]", "a]", "a.[0]", "[0]a"]
)
def test_what_is_no_way_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no place in a JSON document"):
        field_of(written)


DOCUMENT = {"load": {"cpus": [{"free": 3}]}, "0": "zero"}


def test_what_is_there_is_found() -> None:
    assert found_at(("load", "cpus", 0, "free"), DOCUMENT) == 3
    assert found_at(("0",), DOCUMENT) == "zero"


@pytest.mark.parametrize("field", [("x",), (0,), ("load", 0), ("load", "cpus", 1), ("load", "cpus", "0"), ("0", "0")])
def test_what_is_not_there_is_said(field: tuple[str | int, ...]) -> None:
    with pytest.raises(ValueError, match="it has no "):
        found_at(field, DOCUMENT)
