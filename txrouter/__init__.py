"""txrouter: an AMQP 1.0 message router for Twisted, with pluggable distribution policies.

`Router` is the router as pure logic; `RouterService` is it as a Twisted service. Both are imported when they are
first asked for, so that a policy or a test of the core pulls in neither Twisted nor proton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txrouter.config import Config
    from txrouter.core.router import Router
    from txrouter.service import RouterService

__all__ = ["Config", "Router", "RouterService", "__version__"]

__version__ = "0.1.0.dev0"

_HOMES = {"Config": "txrouter.config", "Router": "txrouter.core.router", "RouterService": "txrouter.service"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
