"""A router for the examples, as the tests over real sockets have it."""

from tests.net.conftest import router, start

__all__ = ["router", "start"]
