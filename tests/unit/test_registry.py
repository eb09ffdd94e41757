"""How distribution policies are found by name, and what is said of those that cannot be used."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from zope.interface import implementer

from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy, IDistributionPolicyFactory
from txrouter.registry import GROUP, Option, PolicyError, Registry

MODULE = """
from dataclasses import dataclass
from zope.interface import implementer
from txrouter.interfaces import IDistributionPolicyFactory

@dataclass(frozen=True)
class Options:
    pass

@implementer(IDistributionPolicyFactory)
class Sticky:
    name = "sticky"
    summary = "always the same one"
    options = Options

    def build(self, options, random):
        raise NotImplementedError

sticky = Sticky()
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
    install(packages, "acme_sticky", "1.2", "sticky = acme_sticky_a:sticky", {"acme_sticky_a": MODULE})
    registry = Registry()
    assert registry.factory("sticky").summary == "always the same one"
    [listed] = [policy for policy in registry.listing() if policy.name == "sticky"]
    assert listed.source == "acme_sticky 1.2"
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
    modules = {"acme_lazy_c": MODULE, "acme_lazy_d": MODULE.replace('"sticky"', '"other"')}
    install(packages, "acme_lazy", "1", "sticky = acme_lazy_c:sticky\nother = acme_lazy_d:sticky", modules)
    Registry().factory("sticky")
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
    install(packages, "acme_first", "1.0", "sticky = acme_first_e:sticky", {"acme_first_e": MODULE})
    install(packages, "acme_second", "2.0", "sticky = acme_second_f:sticky", {"acme_second_f": MODULE})
    registry = Registry()
    with pytest.raises(PolicyError) as caught:
        registry.factory("sticky")
    for part in ("acme_first 1.0 (acme_first_e:sticky)", "acme_second 2.0 (acme_second_f:sticky)", "package.module"):
        assert part in str(caught.value)
    assert registry.factory("acme_second_f:sticky").name == "sticky"


def test_a_listing_has_every_option_with_its_type_and_default() -> None:
    [listed] = Registry([offer("nobody", "nobody")]).listing()
    assert listed.name == "nobody"
    assert listed.summary == "gives nothing to anyone"
    assert listed.options == (
        Option("patience", "float", required=True),
        Option("reason", "str", required=False, default="rest"),
        Option("days", "tuple[int, ...]", required=False, default=()),
    )
