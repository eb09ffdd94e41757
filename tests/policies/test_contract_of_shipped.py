"""The shipped policies keep to the contract."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from txrouter.policies import (
    adaptive,
    closest,
    deadline,
    exclusive,
    join_idle,
    least_in_flight,
    least_work,
    peak_ewma,
    power_of_two,
    priority,
    pull,
    reply_aware,
    round_robin,
    sticky,
    weighted,
)
from txrouter.testing import PolicyContract


class AdaptiveContract(PolicyContract):
    factory = adaptive.factory
    work_conserving = False


class DeadlineContract(PolicyContract):
    factory = deadline.factory
    fields = st.dictionaries(st.just("ttl"), st.integers(1, 20_000))


class DeadlineByPropertyContract(PolicyContract):
    factory = deadline.factory
    options = deadline.Options(deadline="property:within", default_seconds=5.0, cost="property:cost")
    application_properties = st.dictionaries(st.sampled_from(["within", "cost"]), st.integers(-1, 9) | st.floats())
    work_conserving = False


class LeastWorkContract(PolicyContract):
    factory = least_work.factory
    application_properties = st.dictionaries(st.just("cost"), st.integers(-1, 5) | st.floats() | st.just("much"))


class LearnedWorkContract(PolicyContract):
    factory = least_work.factory
    options = least_work.Options(cost="learned")
    fields = st.dictionaries(st.just("subject"), st.sampled_from("ab"))


class ReplyAwareContract(PolicyContract):
    factory = reply_aware.factory
    fields = st.fixed_dictionaries({"message_id": st.integers(0, 5)}, optional={"reply_to": st.just("answers")})
    work_conserving = False


class RoundRobinContract(PolicyContract):
    factory = round_robin.factory


class PullContract(PolicyContract):
    factory = pull.factory


class LeastInFlightContract(PolicyContract):
    factory = least_in_flight.factory


class ClosestContract(PolicyContract):
    factory = closest.factory


class StickyContract(PolicyContract):
    factory = sticky.factory
    fields = st.fixed_dictionaries({}, optional={"group_id": st.sampled_from("abc") | st.integers(0, 1)})
    work_conserving = False


class UnboundedStickyContract(StickyContract):
    options = sticky.Options(load=0.0)


class WeightedContract(PolicyContract):
    factory = weighted.factory


class WeightedByPropertyContract(PolicyContract):
    factory = weighted.factory
    options = weighted.Options(capacity="property:cpus")
    properties = st.dictionaries(st.just("cpus"), st.integers(-1, 5) | st.floats() | st.none() | st.just("much"))


class WeightedByCreditContract(PolicyContract):
    factory = weighted.factory
    options = weighted.Options(capacity="credit")


class PowerOfTwoContract(PolicyContract):
    factory = power_of_two.factory


class PowerOfTwoEqualsContract(PolicyContract):
    factory = power_of_two.factory
    options = power_of_two.Options(capacity=False)


class JoinIdleContract(PolicyContract):
    factory = join_idle.factory


class PeakEWMAContract(PolicyContract):
    factory = peak_ewma.factory


class PriorityContract(PolicyContract):
    factory = priority.factory
    properties = st.dictionaries(
        st.sampled_from(["priority", "rabbitmq:priority"]),
        st.integers(-2, 3) | st.floats() | st.booleans() | st.just("high") | st.just(1 << 40),
    )


class PeakEWMAOfRepliesContract(PolicyContract):
    factory = peak_ewma.factory
    options = peak_ewma.Options(latency="reply")
    fields = st.fixed_dictionaries({"message_id": st.integers(0, 5)}, optional={"reply_to": st.just("answers")})


class ExclusiveContract(PolicyContract):
    factory = exclusive.factory
    properties = st.dictionaries(st.just("priority"), st.integers(-2, 3))
    work_conserving = False


TestRoundRobin = RoundRobinContract.TestCase
TestPull = PullContract.TestCase
TestLeastInFlight = LeastInFlightContract.TestCase
TestClosest = ClosestContract.TestCase
TestWeighted = WeightedContract.TestCase
TestWeightedByCredit = WeightedByCreditContract.TestCase
TestWeightedByProperty = WeightedByPropertyContract.TestCase

TestPowerOfTwo = PowerOfTwoContract.TestCase
TestPowerOfTwoEquals = PowerOfTwoEqualsContract.TestCase
TestJoinIdle = JoinIdleContract.TestCase
TestPeakEWMA = PeakEWMAContract.TestCase
TestPeakEWMAOfReplies = PeakEWMAOfRepliesContract.TestCase
TestPriority = PriorityContract.TestCase
TestExclusive = ExclusiveContract.TestCase
TestAdaptive = AdaptiveContract.TestCase
TestDeadline = DeadlineContract.TestCase
TestDeadlineByProperty = DeadlineByPropertyContract.TestCase
TestLeastWork = LeastWorkContract.TestCase
TestLearnedWork = LearnedWorkContract.TestCase
TestReplyAware = ReplyAwareContract.TestCase
TestSticky = StickyContract.TestCase
TestUnboundedSticky = UnboundedStickyContract.TestCase

few = settings(TestPull.settings, max_examples=50)
TestPowerOfTwo.settings = TestPowerOfTwoEquals.settings = TestJoinIdle.settings = few
TestPeakEWMA.settings = TestPeakEWMAOfReplies.settings = TestPriority.settings = TestExclusive.settings = few
TestAdaptive.settings = TestDeadline.settings = TestDeadlineByProperty.settings = few
TestLeastWork.settings = TestLearnedWork.settings = few
TestReplyAware.settings = TestSticky.settings = TestUnboundedSticky.settings = few
TestRoundRobin.settings = TestPull.settings = TestClosest.settings = few
TestWeighted.settings = TestWeightedByCredit.settings = TestWeightedByProperty.settings = few
