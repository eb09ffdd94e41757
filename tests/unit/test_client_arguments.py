"""The command lines of `txrouter send` and `txrouter receive`, and what they are taken to mean."""

from __future__ import annotations

import argparse

import pytest

from txrouter.client import arguments
from txrouter.client.options import Fields, ReceiveOptions, SendOptions
from txrouter.client.server import Server, parse_server, split_address


@pytest.fixture(autouse=True)
def no_default_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TXROUTER_SERVER", raising=False)


def send(*line: str) -> SendOptions:
    parser = argparse.ArgumentParser(prog="txrouter send")
    arguments.add_send(parser)
    return arguments.send_options(parser, parser.parse_args(line))


def receive(*line: str) -> ReceiveOptions:
    parser = argparse.ArgumentParser(prog="txrouter receive")
    arguments.add_receive(parser)
    return arguments.receive_options(parser, parser.parse_args(line))


# -- servers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("example.com", Server("example.com", 5672)),
        ("example.com:15672", Server("example.com", 15672)),
        ("[::1]:15672", Server("::1", 15672)),
        ("amqp://example.com", Server("example.com", 5672)),
        ("AMQP://example.com/", Server("example.com", 5672)),
        ("amqps://example.com", Server("example.com", 5671, tls=True)),
        ("amqps://example.com:443", Server("example.com", 443, tls=True)),
        ("amqp://me:secret@example.com", Server("example.com", 5672, user="me", password="secret")),
        ("amqp://me%40home:p%2Fq%3A@example.com", Server("example.com", 5672, user="me@home", password="p/q:")),
        ("unix:/run/txrouter.sock", Server("localhost", 0, path="/run/txrouter.sock")),
    ],
)
def test_a_server_is_understood(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no server"),
        ("example.com:port", "no server"),
        ("example.com:0", "no server"),
        ("example.com:65536", "no server"),
        ("[::1", "no server"),
        ("[::1%25a:b@c]:1", "no server"),
        ("[::]@[:c]", "no server"),
        ("http://example.com", "neither amqp:// nor amqps://"),
        ("amqp://me@example.com", "a user needs a password"),
        ("amqp://example.com/jobs", "has an address behind the server"),
    ],
)
def test_what_is_no_server_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_server(text)


def test_a_server_is_shown_without_its_password() -> None:
    server = parse_server("amqp://me:secret@[::1]")
    assert str(server) == "[::1]:5672"
    assert "secret" not in repr(server)


@pytest.mark.parametrize("text", ["jobs", "/jobs", "a/b?c#d", "amqp:/_topo/0/r1/temp.abc", "$management", "a b"])
def test_an_address_that_is_no_url_is_left_alone(text: str) -> None:
    assert split_address(text) == (None, text)


def test_a_url_is_a_server_and_an_address() -> None:
    assert split_address("amqp://example.com:1234/a/b%20c?d#e") == (Server("example.com", 1234), "a/b c?d#e")


def test_a_url_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="no address behind the server"):
        split_address("amqp://example.com")


# -- send ----------------------------------------------------------------------------------------------------------


def test_one_message_is_sent_to_the_server_on_this_machine_by_default() -> None:
    assert send("jobs") == SendOptions(server=Server("127.0.0.1", 5672), address="jobs")


def test_the_server_is_that_of_the_option_or_of_the_address() -> None:
    elsewhere = Server("example.com", 5672)
    assert send("jobs", "--to", "example.com").server == elsewhere
    assert send("amqp://example.com/jobs").server == elsewhere
    assert send("amqp://example.com/jobs").address == "jobs"


def test_the_server_can_be_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TXROUTER_SERVER", "example.com")
    assert send("jobs").server.host == "example.com"
    assert send("jobs", "--to", "example.org").server.host == "example.org"
    assert receive("amqp://example.net/jobs").server.host == "example.net"


def test_the_fields_of_messages_are_taken_over() -> None:
    line = "jobs --durable --priority 9 --ttl 1.5 --id i --subject s --reply-to r --correlation-id c --content-type t"
    options = send(*line.split(), "--group-id", "g", "--user-id", "u", "-p", "a=1", "-p", "b:=1", "-p", "c:=true")
    assert options.fields == Fields(
        durable=True,
        priority=9,
        ttl=1.5,
        id="i",
        user_id="u",
        subject="s",
        reply_to="r",
        correlation_id="c",
        content_type="t",
        group_id="g",
        properties={"a": "1", "b": 1, "c": True},
    )


def test_the_text_of_a_property_may_be_empty_or_have_an_equals_sign() -> None:
    assert send("jobs", "-p", "a=", "-p", "b=c=d").fields.properties == {"a": "", "b": "c=d"}


def test_an_anonymous_link_has_the_address_in_each_message() -> None:
    options = send("jobs", "--anonymous")
    assert options.anonymous
    assert options.fields.address == "jobs"
    assert send("jobs").fields.address is None


def test_lines_come_from_standard_input_and_are_all_sent() -> None:
    options = send("jobs", "--lines")
    assert (options.file, options.count) == ("-", None)
    options = send("jobs", "--lines", "--file", "work.txt", "--count", "3")
    assert (options.file, options.count) == ("work.txt", 3)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "jobs --count 0",
        "jobs --count many",
        "jobs --size -1",
        "jobs --size 1 --body x",
        "jobs --body x --lines",
        "jobs --rate 0",
        "jobs --rate nan",
        "jobs --timeout -1",
        "jobs --timeout inf",
        "jobs --priority 256",
        "jobs --ttl 5000000",
        "jobs -p nothing",
        "jobs -p =x",
        "jobs -p a=\udcff",
        "jobs --body \udcff",
        "\udcff",
        "jobs -p :=1",
        "jobs -p a:=text",
        "jobs -p a:=[1]",
        "jobs -p a:=99999999999999999999",
        "jobs --request --settled",
        "jobs --request --reply-to me",
        "jobs --to http://example.com",
        "amqp://example.com/jobs --to example.com",
        "jobs --insecure",
        "jobs --ca ca.pem",
        "jobs --certificate me.pem",
        "jobs --to amqps://example.com --private-key me.key",
    ],
)
def test_a_send_that_makes_no_sense_exits_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        send(*line.split())
    assert caught.value.code == 2
    assert "txrouter send: error: " in capsys.readouterr().err


def test_an_empty_address_exits_with_2() -> None:
    with pytest.raises(SystemExit):
        send("")


# -- receive -------------------------------------------------------------------------------------------------------


def test_messages_are_accepted_until_it_is_stopped_by_default() -> None:
    options = receive("jobs")
    assert options == ReceiveOptions(server=Server("127.0.0.1", 5672), address="jobs")
    assert (options.settle, options.credit, options.count, options.body) == ("accept", 10, None, True)


def test_a_temporary_address_has_no_name_yet() -> None:
    assert receive("--dynamic").address is None


def test_what_the_server_is_told_of_a_consumer() -> None:
    options = receive("jobs", "--capacity", "3", "--link-property", "rank:=0", "--link-property", "zone=a")
    assert options.link_properties == {"capacity": 3.0, "rank": 0, "zone": "a"}


def test_requests_are_answered_if_that_is_asked_for() -> None:
    assert not receive("jobs").answers
    assert receive("jobs", "--echo").answers
    assert receive("jobs", "--reply", "").answers


@pytest.mark.parametrize(
    "line",
    [
        "",
        "jobs --dynamic",
        "jobs --credit 0",
        "jobs --count 0",
        "jobs --delay -1",
        "jobs --capacity 0",
        "jobs --settle maybe",
        "jobs --failed",
        "jobs --settle release --undeliverable",
        "jobs --condition amqp:not-allowed",
        "jobs --settle reject --description why",
        "jobs --settle none --count 11",
        "jobs --echo --reply x",
    ],
)
def test_a_receive_that_makes_no_sense_exits_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        receive(*line.split())
    assert caught.value.code == 2
    assert "txrouter receive: error: " in capsys.readouterr().err


@pytest.mark.parametrize("add", [arguments.add_send, arguments.add_receive])
def test_the_help_has_examples(add: object, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="txrouter")
    assert callable(add)
    add(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "examples:\n  txrouter " in capsys.readouterr().out
