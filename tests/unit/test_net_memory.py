"""How much memory the process has, and may have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from txrouter.core.addresses import AddressTable, Distribution
from txrouter.core.limits import Limits
from txrouter.core.router import Router
from txrouter.net.memory import Watch, allowed, resident
from txrouter.policies import pull

MIB = 1 << 20
MACHINE = int(0.75 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def system(root: Path, cgroup: str, **limits: str) -> Path:
    """A system's files, as far as control groups are concerned; `limits` by their paths, with `__` for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for path, limit in limits.items():
        file = root / "sys/fs/cgroup" / path.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit)
    return root


def test_the_process_has_some_memory() -> None:
    assert MIB < resident() < MACHINE


def test_without_control_groups_the_machine_says_what_is_allowed(tmp_path: Path) -> None:
    assert allowed(tmp_path) == MACHINE


def test_three_quarters_of_what_the_control_group_may_have_are_allowed(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/app\n", **{"app__memory.max": f"{100 * MIB}\n"})
    assert allowed(root) == 75 * MIB


def test_the_smallest_of_the_groups_around_it_decides(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/a/b\n", **{"a__b__memory.max": "max\n", "a__memory.max": f"{40 * MIB}\n"})
    assert allowed(root) == 30 * MIB


def test_in_a_container_the_group_is_found_at_the_root(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/somewhere/outside\n", **{"memory.max": f"{40 * MIB}\n"})
    assert allowed(root) == 30 * MIB


def test_control_groups_of_the_first_version_are_found(tmp_path: Path) -> None:
    cgroup = "3:cpu,cpuacct:/app\n2:memory:/app\n"
    root = system(tmp_path, cgroup, **{"memory__app__memory.limit_in_bytes": f"{40 * MIB}\n"})
    assert allowed(root) == 30 * MIB


class Watched:
    """A router with a ceiling of 100 MiB, that has some memory; and how often free memory was given back."""

    def __init__(self, has: int) -> None:
        table = AddressTable(Distribution(pull.factory, pull.factory.options()))
        self.router = Router("here", table, Limits(max_memory=100 * MIB))
        self.has = has
        self.looks = 0
        self.trimmed = 0
        self.clock = Clock()
        self.watch = Watch(self.router, self._later, list, self._measure, self._trim)
        self.watch.start()

    def _later(self, delay: float, call: Callable[[], None]) -> Any:
        return self.clock.callLater(delay, self._called, call)

    def _called(self, call: Callable[[], None]) -> None:
        self.router.now = self.clock.seconds()
        call()

    def _measure(self) -> int:
        self.looks += 1
        return self.has * MIB

    def _trim(self) -> None:
        self.trimmed += 1

    def after(self, seconds: int) -> Watched:
        """It, so much later."""
        self.clock.pump([0.01] * (seconds * 100))
        return self


def test_the_ceiling_is_what_the_limits_say() -> None:
    assert Watched(10).watch.ceiling.most == 100 * MIB


@pytest.mark.parametrize(("has", "short"), [(79, False), (81, True)])
def test_a_watch_finds_whether_memory_is_short(has: int, short: bool) -> None:
    assert Watched(has).after(1).router.short_of_memory == short


@pytest.mark.parametrize(("has", "looks"), [(10, (4, 15)), (79, (20, 51)), (99, (20, 51))])
def test_the_nearer_the_ceiling_the_more_often_it_looks(has: int, looks: tuple[int, int]) -> None:
    fewest, most = looks
    assert fewest <= Watched(has).after(1).looks <= most


@pytest.mark.parametrize(("has", "times"), [(10, 0), (90, 8)])
def test_free_memory_is_given_back_twice_a_second_while_it_is_short(has: int, times: int) -> None:
    assert Watched(has).after(4).trimmed == times


def test_a_watch_that_is_stopped_leaves_no_timer_behind() -> None:
    watched = Watched(10).after(1)
    watched.watch.stop()
    assert not watched.clock.getDelayedCalls()
