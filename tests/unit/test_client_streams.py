"""Standard input and output of the clients: nothing is read before it is wanted, nothing written that would block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from txrouter.client.streams import Lines, Output, is_pollable


class Reactor:
    """What there is to be polled."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of one; a test may close either."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def file_of(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    return os.open(path, os.O_RDONLY)


def all_of(lines: Lines) -> list[str]:
    found = []
    while (line := lines.next()) is not None:
        found.append(line)
    return found


# -- lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\n\ntwo", ["one", "", "two"]),
        (b"h\xc3\xa9\n\xff\n", ["hé", "\ufffd"]),
        (b"x" * 200_000 + b"\ny", ["x" * 200_000, "y"]),
    ],
)
def test_the_lines_of_a_file(reactor: Reactor, tmp_path: Path, content: bytes, expected: list[str]) -> None:
    lines = Lines(reactor, file_of(tmp_path / "lines", content))
    assert all_of(lines) == expected
    assert lines.over
    assert not reactor.readers


def test_no_more_lines_than_are_wanted(reactor: Reactor, tmp_path: Path) -> None:
    lines = Lines(reactor, file_of(tmp_path / "lines", b"one\ntwo\nthree\n"), 2)
    assert all_of(lines) == ["one", "two"]
    assert lines.over


def test_a_pipe_is_read_when_lines_are_wanted_and_there_is_something(reactor: Reactor, pipe: tuple[int, int]) -> None:
    woken = []
    lines = Lines(reactor, pipe[0])
    lines.wake = lambda: woken.append(all_of(lines))
    assert not reactor.readers
    assert lines.next() is None
    assert reactor.readers == {lines}
    os.write(pipe[1], b"one\ntw")
    lines.doRead()
    assert woken == [["one"]]
    assert not lines.over
    os.write(pipe[1], b"o")
    lines.doRead()
    os.close(pipe[1])
    lines.doRead()
    assert woken == [["one"], ["two"]]
    assert lines.over
    assert not reactor.readers


def test_the_end_of_a_pipe_may_come_as_a_lost_connection(reactor: Reactor, pipe: tuple[int, int]) -> None:
    woken = []
    lines = Lines(reactor, pipe[0])
    lines.next()
    os.write(pipe[1], b"one\ntwo")
    lines.doRead()
    lines.wake = lambda: woken.append(all_of(lines))
    lines.connectionLost(Failure(ConnectionLost()))
    assert woken == [["one", "two"]]
    assert lines.over


def test_a_pipe_is_not_read_far_ahead(reactor: Reactor, pipe: tuple[int, int]) -> None:
    lines = Lines(reactor, pipe[0])
    lines.next()
    os.write(pipe[1], b"\n" * 5000)
    lines.doRead()
    assert not reactor.readers
    assert len(all_of(lines)) == 5000
    assert reactor.readers == {lines}


# -- output --------------------------------------------------------------------------------------------------------


def test_a_file_is_written_at_once(reactor: Reactor, tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = Output(reactor, os.open(path, os.O_WRONLY | os.O_CREAT))
    output.write(b"one")
    output.write(b"x" * 200_000)
    assert path.read_bytes() == b"one\n" + b"x" * 200_000 + b"\n"
    assert not reactor.writers
    assert not output.terminal


def test_a_pipe_is_written_when_it_is_ready_and_no_more_than_it_is_sure_to_take(
    reactor: Reactor, pipe: tuple[int, int]
) -> None:
    output = Output(reactor, pipe[1])
    output.write(b"x" * 5000)
    assert reactor.writers == {output}
    output.doWrite()
    assert os.read(pipe[0], 10_000) == b"x" * 4096
    output.doWrite()
    assert os.read(pipe[0], 10_000) == b"x" * 904 + b"\n"
    assert not reactor.writers


def test_an_output_that_was_full_says_when_it_is_empty(reactor: Reactor, pipe: tuple[int, int]) -> None:
    asked = []
    output = Output(reactor, pipe[1])
    output.room = lambda: asked.append(output.full)
    output.write(b"x" * 65_000)
    assert not output.full
    output.write(b"x" * 1_000)
    assert output.full
    while reactor.writers:
        assert asked == []
        output.doWrite()
        os.read(pipe[0], 100_000)
    assert asked == [False]


def test_what_is_left_at_the_end_is_written(reactor: Reactor, pipe: tuple[int, int]) -> None:
    output = Output(reactor, pipe[1])
    output.write(b"one")
    output.connectionLost(Failure(ConnectionLost()))
    assert os.read(pipe[0], 100) == b"one\n"


def test_an_output_that_nobody_reads_any_more_says_so_once(reactor: Reactor, pipe: tuple[int, int]) -> None:
    gone = []
    output = Output(reactor, pipe[1], lambda: gone.append(True))
    os.close(pipe[0])
    output.write(b"one")
    output.doWrite()
    output.write(b"two")
    output.flush()
    assert gone == [True]
    assert not reactor.writers


def test_pipes_may_have_to_be_waited_for_and_files_not(pipe: tuple[int, int], tmp_path: Path) -> None:
    assert is_pollable(pipe[0])
    assert not is_pollable(file_of(tmp_path / "file", b""))
