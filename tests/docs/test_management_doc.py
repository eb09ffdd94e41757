"""What docs/management.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest_twisted

from tests.net.asking import Asker
from tests.net.routers import RunningRouter

PAGE = (Path(__file__).parents[2] / "docs" / "management.md").read_text(encoding="utf-8")


@pytest_twisted.ensureDeferred
async def test_a_program_can_add_an_operation(router: RunningRouter) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    exec(code, {"service": router.service})
    answer = await (await Asker.at(router)).ask("busy")
    assert (answer.status, answer.body) == (200, {"in_flight": 1})  # the request itself
