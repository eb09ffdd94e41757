"""How long the state machines go on, and with what seed: the same every time, until somebody says otherwise.

`TXROUTER_TEST_EFFORT=20` tries twenty times as many histories; `TXROUTER_TEST_SEED=7` tries others. The effort of
`make test-long` is 8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, settings

EFFORT = int(os.environ.get("TXROUTER_TEST_EFFORT", "1"))
SEED = int(os.environ.get("TXROUTER_TEST_SEED", "1"))


def histories(count: int, steps: int = 80) -> settings:
    """So many of so many steps, times the effort."""
    return settings(
        database=None,
        max_examples=count * EFFORT,
        stateful_step_count=steps,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def seed_shown() -> Iterator[None]:
    """Add to a failure how it can be had again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"It happens again with TXROUTER_TEST_SEED={SEED} TXROUTER_TEST_EFFORT={EFFORT}.")
        raise
