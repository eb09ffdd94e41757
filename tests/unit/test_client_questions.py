"""The command lines of `txrouter explain` and `txrouter record`."""

from __future__ import annotations

import argparse

import pytest

from txrouter.client.options import AskOptions
from txrouter.client.questions import add_explain, add_record, explain_options, record_options


def explain(*line: str) -> AskOptions:
    parser = argparse.ArgumentParser()
    add_explain(parser)
    return explain_options(parser, parser.parse_args(line))


def record(*line: str) -> AskOptions:
    parser = argparse.ArgumentParser()
    add_record(parser)
    return record_options(parser, parser.parse_args(line))


def test_an_explanation_takes_a_second_if_nothing_is_said() -> None:
    options = explain("jobs")
    assert (options.operation, options.address, options.takes) == ("explain", "jobs", 1.0)
    assert options.arguments == {"address": "jobs", "seconds": 1.0, "samples": 3, "consumers": 50}


def test_an_explanation_has_what_was_asked_for() -> None:
    options = explain("jobs", "--seconds", "2.5", "--samples", "0", "--consumers", "7", "--json")
    assert options.arguments == {"address": "jobs", "seconds": 2.5, "samples": 0, "consumers": 7}
    assert options.json


def test_a_recording_has_no_limit_if_none_is_given() -> None:
    options = record("jobs")
    assert options.arguments == {"address": "jobs"}
    assert (options.takes, options.output, options.quiet) == (None, None, False)


def test_a_recording_has_what_was_asked_for() -> None:
    options = record("jobs", "--seconds", "60", "-n", "9", "-o", "trace", "-q")
    assert options.arguments == {"address": "jobs", "seconds": 60, "messages": 9}
    assert (options.output, options.quiet) == ("trace", True)


@pytest.mark.parametrize("line", [("amqp://there:7/jobs",), ("jobs", "--server", "there:7")])
def test_the_server_is_given_as_for_send(line: tuple[str, ...]) -> None:
    for options in (explain(*line), record(*line)):
        assert (options.address, str(options.server)) == ("jobs", "there:7")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((), "the following arguments are required: ADDRESS"),
        (("",), "an ADDRESS cannot be empty"),
        (("jobs", "--seconds", "0"), "0 is not above 0"),
        (("jobs", "--server", "ftp://x"), "begins with neither amqp:// nor amqps://"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_said(capsys: pytest.CaptureFixture[str], line: tuple[str, ...], said: str) -> None:
    for ask in (explain, record):
        with pytest.raises(SystemExit) as ended:
            ask(*line)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
