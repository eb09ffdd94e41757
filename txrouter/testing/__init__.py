"""For those who write a distribution policy: consumers, deliveries and a router to try it with, a contract, and loads.

`FakeRouter` calls a policy exactly as the router does, in one line per event::

    router = FakeRouter(factory.build(factory.options(), random.Random(1)))
    a, b = router.attach("a", credit=2), router.attach("b", credit=1)
    assert [router.send(), router.send()] == [a, b]

`PolicyContract` throws random events at a policy and checks what every policy must keep to. With pytest::

    class FirstComeContract(PolicyContract):
        factory = first_come.factory

    TestFirstCome = FirstComeContract.TestCase

It needs hypothesis, which txrouter itself does not: `pip install hypothesis`.

`run_scenario` simulates a load, and comes to figures::

    figures = run_scenario("gpu-workers", first_come.factory, messages=5_000)
    assert figures.to_ideal() < 1.5, figures
"""

from txrouter.testing.contract import PolicyContract
from txrouter.testing.fakes import FakeConsumer, FakeDelivery, FakeProducer
from txrouter.testing.router import FakeRouter
from txrouter.testing.scenario import Figures, run_scenario

__all__ = ["FakeConsumer", "FakeDelivery", "FakeProducer", "FakeRouter", "Figures", "PolicyContract", "run_scenario"]
