"""What a listener's config says of who may come in: what it means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

from tests.net.authorities import Issued
from txrouter.config import Config, ConfigError, Listener
from txrouter.net import external
from txrouter.net.passwords import Secret, store

TCP = "tcp:0:interface=127.0.0.1"
ALL = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")


@pytest.fixture
def passwords(tmp_path: Path) -> str:
    """A password file."""
    path = tmp_path / "passwords"
    store(path, "alice", Secret.of("pencil", 4096))
    return str(path)


@pytest.fixture
def over_tls(tmp_path: Path) -> str:
    """An endpoint with TLS."""
    certificate = Issued("localhost").write(tmp_path / "router.pem")
    return f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"


def listener(endpoint: str = TCP, **keys: object) -> Listener:
    (listener,) = Config.from_dict({"listener": [{"endpoint": endpoint, **keys}]}).listener
    return listener


def problems(endpoint: str = TCP, **keys: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        listener(endpoint, **keys)
    return [problem.removeprefix("listener[0].") for problem in raised.value.problems]


def test_without_a_word_a_listener_is_open_to_everybody() -> None:
    assert listener().offered == ("ANONYMOUS",)
    assert listener().allow_bare


def test_with_a_password_file_all_that_it_can_judge_is_offered(passwords: str, over_tls: str) -> None:
    assert listener(over_tls, passwords=passwords).offered == ALL
    assert listener(passwords=passwords, plain_without_tls=True).offered == ALL


def test_without_tls_plain_is_left_out(passwords: str) -> None:
    assert listener(passwords=passwords).offered == ALL[:2]


def test_the_mechanisms_can_be_chosen_and_have_an_order(passwords: str) -> None:
    chosen = ["ANONYMOUS", "SCRAM-SHA-1"]
    assert listener(passwords=passwords, mechanisms=chosen).offered == tuple(chosen)


@pytest.mark.parametrize("endpoint", ["tcp:0", "unix:/nowhere", "haproxy:tcp:0"])
def test_endpoints_that_are_known_to_have_no_tls(endpoint: str) -> None:
    assert problems(endpoint, mechanisms=["EXTERNAL"]) == [
        "mechanisms[0]: EXTERNAL needs clients' certificates, and this listener has no TLS"
    ]


def test_any_checker_that_twisted_knows_by_a_string_will_do() -> None:
    named = listener(auth="memory:alice:pencil", plain_without_tls=True)
    assert named.offered == ("PLAIN",)
    assert isinstance(named.auth, InMemoryUsernamePasswordDatabaseDontUse)


def test_the_string_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TXROUTER_AUTH", "memory:alice:pencil")
    assert listener(auth="env:TXROUTER_AUTH", plain_without_tls=True).offered == ("PLAIN",)


def test_a_program_may_hand_in_a_checker() -> None:
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"pencil")
    assert listener(auth=checker, plain_without_tls=True).auth is checker


def test_the_fields_of_a_certificate_are_those_that_can_be_read(over_tls: str, tmp_path: Path) -> None:
    ca = str(Issued("office", authority=True).write(tmp_path / "ca.pem"))
    for field in external.FIELDS:
        keys = {"client_ca": ca, "mechanisms": ["EXTERNAL"], "external_field": field}
        assert listener(over_tls, **keys).external_field == field


def test_for_external_somebody_has_to_vouch_for_clients(over_tls: str) -> None:
    assert problems(over_tls, mechanisms=["EXTERNAL"]) == [
        "mechanisms[0]: EXTERNAL needs clients' certificates: `client_ca` says whose are asked for"
    ]


def test_no_secret_is_in_what_is_shown_of_a_config() -> None:
    shown = listener(auth="memory:alice:pencil", plain_without_tls=True)
    assert "pencil" not in f"{shown!r} {shown}"


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_a_mechanism_that_nobody_can_judge_is_an_error(passwords: str) -> None:
    assert problems(mechanisms=["SCRAM-SHA-256", "ANONYMOUS", "PLAIN"], plain_without_tls=True) == [
        "mechanisms[0]: SCRAM-SHA-256 needs `passwords`",
        "mechanisms[2]: PLAIN needs `passwords` or `auth`",
    ]
    assert problems(mechanisms=["SCRAM-SHA-256"], auth="memory:alice:pencil") == [
        "mechanisms[0]: SCRAM-SHA-256 is unknown to the checker that `auth` names"
    ]


def test_plain_without_tls_has_to_be_permitted(passwords: str) -> None:
    assert problems(mechanisms=["SCRAM-SHA-256", "PLAIN"], passwords=passwords) == [
        "mechanisms[1]: PLAIN shows passwords to the network, and this listener has no TLS; "
        "`plain_without_tls = true` permits it"
    ]


def test_a_checker_whose_only_mechanism_is_not_permitted_does_not_leave_the_listener_open() -> None:
    assert problems(auth="memory:alice:pencil") == [
        "auth: it serves PLAIN, which shows passwords to the network, and this listener has no TLS; "
        "`plain_without_tls = true` permits it"
    ]


def test_a_password_file_that_no_mechanism_needs_is_an_error(passwords: str) -> None:
    assert problems(mechanisms=["ANONYMOUS"], passwords=passwords) == [
        "mechanisms: none of them needs what `passwords` or `auth` knows"
    ]


def test_one_checker_is_enough(passwords: str) -> None:
    assert problems(passwords=passwords, auth="memory:alice:pencil") == [
        "auth: a listener has `passwords` or `auth`, one of the two"
    ]


def test_who_comes_without_sasl_is_anonymous_and_cannot_be_let_in_where_nobody_may_be(passwords: str) -> None:
    assert problems(passwords=passwords, allow_bare=True) == [
        "allow_bare: who comes without SASL is anonymous, and ANONYMOUS is not offered"
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"mechanisms": []}, "mechanisms: must not be empty"),
        ({"mechanisms": "PLAIN"}, 'mechanisms: must be an array, not "PLAIN"'),
        ({"mechanisms": ["ANONYMOUS", "ANONYMOUS"]}, "mechanisms[1]: is there twice"),
        (
            {"mechanisms": ["LOGIN"]},
            "mechanisms[0]: must be 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'EXTERNAL', 'PLAIN' or 'ANONYMOUS'",
        ),
        ({"passwords": "/nowhere"}, "passwords: /nowhere cannot be read: No such file or directory"),
        ({"passwords": 1}, "passwords: must be a string, not 1"),
        ({"auth": 1}, "auth: must be a string"),
        ({"auth": "env:TXROUTER_NOTHING"}, "auth: there is no 'TXROUTER_NOTHING' in the environment"),
        ({"auth": "memory:alice"}, "auth: what is behind `memory:` is not what such a checker takes"),
        ({"external_field": "OU"}, "external_field: must be 'CN', 'subject', 'SAN:dns', 'SAN:email' or 'SAN:uri'"),
    ],
)
def test_a_problem_is_said_with_its_path(keys: dict[str, object], problem: str) -> None:
    assert problems(TCP, **keys) == [problem]


def test_an_unknown_kind_of_checker_is_named_but_not_what_is_behind_it() -> None:
    (problem,) = problems(auth="ldap:host:secret")
    assert problem.startswith("auth: there is no kind of checker 'ldap'; there are: anonymous, ")
    assert "secret" not in problem


def test_a_line_of_a_password_file_that_is_wrong_is_an_error(passwords: str) -> None:
    with open(passwords, "a") as file:
        file.write("bob secret\n")
    assert problems(passwords=passwords) == [
        f"passwords: line 3 of {passwords} is no user with keys as `txrouter passwd` writes them"
    ]
