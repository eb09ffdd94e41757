from __future__ import annotations
from pytest_twisted import ensureDeferred
from tests.net.links import ACCEPTED
from tests.net.routers import RunningRouter, quiet
@ensureDeferred
async def test_accepted(router):
    consumer = await router.receiver("x", credit=10)
    producer = await router.sender("x")
    await producer.credited()
    sent = producer.send(b"hello")
    got = await consumer.next()
    assert got.data == b"hello"
    got.accept()
    assert await sent.over() == ACCEPTED
    await quiet(producer, consumer)
