"""How distribution policies are found by name, and what is said of those that cannot be used."""

from __future__ import annotations

import dataclasses
import pickle
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from zope.interface import implementer

from txrouter.interfaces import (
    IConsumer,
    IDelivery,
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IDistributionWrapperFactory,
)
from txrouter.policies.outlier import Outlier
from txrouter.registry import GROUP, WRAPPERS, Option, PolicyError, Registry

MODULE = """
from dataclasses import dataclass
from zope.interface import implementer
from txrouter.interfaces import IDistributionPolicyFactory

@dataclass(frozen=True)
class Options:
    pass

@implementer(IDistributionPolicyFactory)
class Loyal:
    name = "loyal"
    summary = "always the same one"
    options = Options

    def build(self, options, random):
        raise NotImplementedError

loyal = Loyal()
"""


@implementer(IDistributionPolicy)
class Nobody:
    def add(self, consumer: IConsumer) -> None: ...
    def remove(self, consumer: IConsumer) -> None: ...
    def select(self, delivery: IDelivery) -> IConsumer | None: ...


@dataclass(frozen=True)
class NobodyOptions:
    patience: float
    reason: str = "rest"
    days: tuple[int, ...] = field(default_factory=tuple)


@implementer(IDistributionPolicyFactory)
class NobodyFactory:
    name = "nobody"
    summary = "gives nothing to anyone"
    options: type = NobodyOptions

    def build(self, options: object, random: object) -> IDistributionPolicy:
        return Nobody()


class UntypedFactory(NobodyFactory):
    options = dict


nobody = NobodyFactory()
untyped = UntypedFactory()


def offer(name: str, attribute: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{attribute}", GROUP)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on sys.path, in which `install` puts packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(where: Path, name: str, version: str, offers: str, modules: dict[str, str]) -> None:
    about = where / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{offers}\n")
    for module, text in modules.items():
        (where / f"{module}.py").write_text(text)


def test_the_shipped_policies_are_found() -> None:
    registry = Registry()
    assert {"pull", "round-robin", "weighted"} <= set(registry.names())
    for policy in registry.listing():
        if policy.source.startswith("txrouter "):
            assert policy.error is None
            assert policy.summary


def test_a_source_checkout_that_was_never_installed_offers_what_its_setup_cfg_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("txrouter.registry.entry_points", lambda group: [])
    registry = Registry()
    assert {"pull", "round-robin", "weighted"} <= set(registry.names())
    assert registry.factory("pull").name == "pull"
    assert all("source checkout" in policy.source for policy in registry.listing())


def test_a_package_that_was_installed_offers_its_policies(packages: Path) -> None:
    install(packages, "acme_loyal", "1.2", "loyal = acme_loyal_a:loyal", {"acme_loyal_a": MODULE})
    registry = Registry()
    assert registry.factory("loyal").summary == "always the same one"
    [listed] = [policy for policy in registry.listing() if policy.name == "loyal"]
    assert listed.source == "acme_loyal 1.2"
    assert listed.error is None


def test_a_broken_package_is_named_and_disturbs_no_other(packages: Path) -> None:
    install(packages, "acme_broken", "3.4", "broken = acme_broken_b:x", {"acme_broken_b": "import no_such_module"})
    registry = Registry()
    assert registry.factory("pull").name == "pull"
    with pytest.raises(PolicyError, match=r"^'broken' of acme_broken 3\.4 cannot be loaded: .*no_such_module"):
        registry.factory("broken")
    [listed] = [policy for policy in registry.listing() if policy.name == "broken"]
    assert listed.error is not None
    assert "no_such_module" in listed.error
    assert listed.source == "acme_broken 3.4"


def test_a_package_that_exits_while_it_is_imported_ends_nothing(packages: Path) -> None:
    (packages / "acme_exits.py").write_text("raise SystemExit('bye')")
    with pytest.raises(PolicyError, match="SystemExit: bye"):
        Registry().factory("acme_exits:policy")


def test_only_the_policy_that_is_asked_for_is_imported(packages: Path) -> None:
    modules = {"acme_lazy_c": MODULE, "acme_lazy_d": MODULE.replace('"loyal"', '"other"')}
    install(packages, "acme_lazy", "1", "loyal = acme_lazy_c:loyal\nother = acme_lazy_d:loyal", modules)
    Registry().factory("loyal")
    assert "acme_lazy_c" in sys.modules
    assert "acme_lazy_d" not in sys.modules


def test_a_policy_without_an_entry_point_is_named_by_its_module() -> None:
    assert Registry([]).factory(f"{__name__}:nobody") is nobody


def test_a_factory_is_loaded_once() -> None:
    registry = Registry([offer("nobody", "nobody")])
    assert registry.factory("nobody") is registry.factory("nobody")


def test_an_unknown_policy_is_answered_with_those_there_are_the_likeliest_first() -> None:
    registry = Registry([offer(name, "nobody") for name in ("alpha", "round-robin", "weighted")])
    with pytest.raises(PolicyError) as caught:
        registry.factory("wieghted")
    assert str(caught.value) == "there is no policy 'wieghted'; there are: weighted, alpha, round-robin"


def test_where_there_is_no_policy_at_all_the_error_says_so() -> None:
    with pytest.raises(PolicyError, match="there are: none"):
        Registry([]).factory("pull")


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("no_such_module_here:factory", "ModuleNotFoundError"),
        (f"{__name__}:no_such_thing", "AttributeError"),
        (f"{__name__}:NobodyFactory", "is no policy factory: .*IDistributionPolicyFactory"),
        (f"{__name__}:MODULE", "is no policy factory: .*IDistributionPolicyFactory"),
        (f"{__name__}:untyped", "is no policy factory: its options are no dataclass"),
        ("not a module:factory", "cannot be loaded"),
        (":", "cannot be loaded"),
    ],
)
def test_what_is_no_policy_factory_is_refused_in_one_line(reference: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem) as caught:
        Registry([]).factory(reference)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(repr(reference))


def test_a_factory_must_go_by_the_name_it_is_offered_under() -> None:
    with pytest.raises(PolicyError, match="'somebody' is broken: it calls itself 'nobody'"):
        Registry([offer("somebody", "nobody")]).factory("somebody")


def test_a_name_that_two_packages_offer_is_refused_and_both_are_named(packages: Path) -> None:
    install(packages, "acme_first", "1.0", "loyal = acme_first_e:loyal", {"acme_first_e": MODULE})
    install(packages, "acme_second", "2.0", "loyal = acme_second_f:loyal", {"acme_second_f": MODULE})
    registry = Registry()
    with pytest.raises(PolicyError) as caught:
        registry.factory("loyal")
    for part in ("acme_first 1.0 (acme_first_e:loyal)", "acme_second 2.0 (acme_second_f:loyal)", "package.module"):
        assert part in str(caught.value)
    assert registry.factory("acme_second_f:loyal").name == "loyal"


def test_a_listing_has_every_option_with_its_type_and_default() -> None:
    [listed] = Registry([offer("nobody", "nobody")]).listing()
    assert listed.name == "nobody"
    assert listed.summary == "gives nothing to anyone"
    assert listed.options == (
        Option("patience", "float", required=True),
        Option("reason", "str", required=False, default="rest"),
        Option("days", "tuple[int, ...]", required=False, default=()),
    )


# -- wrappers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AroundOptions:
    times: int = 1


@dataclass(frozen=True)
class RequiredOptions:
    key: str


@implementer(IDistributionWrapperFactory)
class AroundFactory:
    summary = "goes around"

    def __init__(self, name: str = "around", options: type = AroundOptions) -> None:
        self.name = name
        self.options = options

    def wrap(self, build: Callable[[], IDistributionPolicy], options: Any, random: object) -> IDistributionPolicy:
        if getattr(options, "times", 1) < 1:
            raise ValueError(f"times: {options.times} is not above 0")
        return build()


around = AroundFactory()
round_about = AroundFactory("round-about")
required = AroundFactory("required", RequiredOptions)
patience = AroundFactory("patience")
untyped_around = AroundFactory("untyped", dict)
WRAPPING = [
    offer("nobody", "nobody"),
    *(EntryPoint(each.replace("_", "-"), f"{__name__}:{each}", WRAPPERS) for each in ("around", "round_about")),
    *(EntryPoint(each, f"{__name__}:{each}", WRAPPERS) for each in ("required", "patience")),
]


def test_a_chain_has_the_options_of_its_policy_and_a_table_for_each_wrapper() -> None:
    factory = Registry(WRAPPING).factory("around + round-about + nobody")
    options: Any = factory.options(2.5)
    assert issubclass(factory.options, NobodyOptions)
    assert (options.patience, options.reason) == (2.5, "rest")
    assert (options.around, options.round_about) == (AroundOptions(), AroundOptions())


def test_spaces_around_the_plus_do_not_matter() -> None:
    registry = Registry(WRAPPING)
    assert registry.factory("around+nobody") is registry.factory(" around  + nobody ")
    assert registry.factory("around+nobody").name == "around + nobody"


def test_the_same_chain_of_another_registry_is_the_same() -> None:
    """So that a config that is read again is the same."""
    assert Registry(WRAPPING).factory("around + nobody") is Registry(WRAPPING).factory("around + nobody")


def test_a_wrapper_can_be_named_by_its_module() -> None:
    assert Registry(WRAPPING).factory(f"{__name__}:around + {__name__}:nobody").name == "around + nobody"


def test_what_a_wrapper_needs_to_be_told_has_to_be() -> None:
    options: Any = Registry(WRAPPING).factory("required + nobody").options
    with pytest.raises(TypeError, match="required"):
        options(2.5)
    assert options(2.5, required=RequiredOptions("x")).required.key == "x"


def test_what_a_wrapper_does_not_like_is_said_with_its_name() -> None:
    factory = Registry(WRAPPING).factory("round-about + around + nobody")
    options: Any = factory.options
    with pytest.raises(ValueError, match=r"^around\.times: 0 is not above 0$"):
        factory.build(options(2.5, around=AroundOptions(0)), None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("arround + nobody", "there is no wrapper 'arround'; there are: around, "),
        ("nobody + nobody", "'nobody' is a policy: it comes last, behind the wrappers"),
        ("around", "'around' is a wrapper: a policy has to follow it, as in 'around + pull'"),
        ("nobody + around", "'around' is a wrapper: a policy has to follow it, as in 'around + pull'"),
        ("around + around + nobody", "'around + around + nobody' cannot be: there are two options 'around'"),
        ("patience + nobody", "'patience + nobody' cannot be: there are two options 'patience'"),
        ("around +", "'around +' has a `+` without a name on either side"),
        ("+ nobody", "'+ nobody' has a `+` without a name on either side"),
        (f"{__name__}:nobody + nobody", f"'{__name__}:nobody' is no wrapper factory: "),
        (f"{__name__}:untyped_around + nobody", "no wrapper factory: its options are no dataclass"),
    ],
)
def test_what_is_no_chain_is_refused(name: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Registry(WRAPPING).factory(name)
    assert problem in str(caught.value)


def test_multicast_cannot_be_wrapped() -> None:
    factory = Registry().factory("outlier + multicast")
    with pytest.raises(ValueError, match="there is nothing to put a wrapper around"):
        factory.build(factory.options(), random.Random(1))


def test_an_address_where_nobody_may_attach_cannot_be_wrapped() -> None:
    with pytest.raises(PolicyError, match="there is nothing to put a wrapper around"):
        Registry().factory("outlier + unavailable")


def test_wrappers_are_listed_behind_the_policies() -> None:
    listed = Registry(WRAPPING).listing()
    assert [(each.name, each.kind) for each in listed] == [
        ("nobody", "policy"),
        ("around", "wrapper"),
        ("patience", "wrapper"),
        ("required", "wrapper"),
        ("round-about", "wrapper"),
    ]
    assert listed[1].options == (Option("times", "int", required=False, default=1),)


def test_a_source_checkout_offers_the_wrappers_of_its_setup_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("txrouter.registry.entry_points", lambda group: [])
    assert Registry().factory("slow-start + closest").name == "slow-start + closest"


def test_a_chain_and_its_options_go_to_another_process() -> None:
    factory = Registry().factory("outlier + weighted")
    options = factory.options(capacity="credit")
    other, same = pickle.loads(pickle.dumps((factory, options)))
    assert other.name == "outlier + weighted"
    assert dataclasses.asdict(same) == dataclasses.asdict(options)
    assert isinstance(other.build(same, random.Random(1)), Outlier)
