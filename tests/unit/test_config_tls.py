"""What a config says of TLS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.net.authorities import authority
from txrouter.config import Config, ConfigError, Listener
from txrouter.net.tls import TLSSettings, without_tls

DOCUMENT = Path(__file__).parents[2] / "docs" / "tls.md"

ROOT = authority()
SERVER = ROOT.issue("server", "a.example")
OTHER = ROOT.issue("other", "b.example")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`both.pem`, or `cert.pem` and `key.pem`, and `other.key`, `ca.pem`, `empty.pem`."""
    monkeypatch.chdir(tmp_path)
    SERVER.write(Path("both.pem"))
    Path("cert.pem").write_bytes(SERVER.pem)
    Path("key.pem").write_bytes(SERVER.key_pem)
    Path("other.key").write_bytes(OTHER.key_pem)
    Path("ca.pem").write_bytes(ROOT.pem)
    Path("empty.pem").write_bytes(b"")


def listener(**keys: object) -> Listener:
    return Config.from_dict({"listener": [{"endpoint": "tcp:0", **keys}]}).listener[0]


def problems(**keys: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        listener(**keys)
    return list(caught.value.problems)


# -- what it means -----------------------------------------------------------------------------------------------------


def test_a_listener_has_no_tls_that_has_no_certificate() -> None:
    assert listener().tls is None
    assert listener().transport == "tcp:0"


def test_a_certificate_makes_it_speak_tls() -> None:
    assert listener(certificate="both.pem").tls == TLSSettings(("both.pem",))
    assert listener(certificate="both.pem").transport == "tcp:0"


def test_all_keys() -> None:
    configured = listener(
        certificate=["cert.pem"],
        private_key=["key.pem"],
        client_ca="ca.pem",
        client_certificates="optional",
        minimum_tls="1.3",
    )
    assert configured.tls == TLSSettings(("cert.pem",), ("key.pem",), ("ca.pem",), False, "1.3")


def test_the_other_keys_go_with_an_ssl_endpoint_too() -> None:
    configured = listener(endpoint="ssl:5671:privateKey=both.pem", client_ca="ca.pem", minimum_tls="1.3")
    assert configured.tls == TLSSettings(("both.pem",), ("both.pem",), ("ca.pem",), True, "1.3")
    assert configured.transport == "tcp:5671:interface="


@pytest.mark.parametrize(
    ("endpoint", "transport", "certificates", "private_keys"),
    [
        ("ssl:1", "tcp:1:interface=", ("server.pem",), ("server.pem",)),
        ("ssl:1:a.key:a.pem", "tcp:1:interface=", ("a.pem",), ("a.key",)),
        ("ssl:port=1:certKey=a.pem:privateKey=a.key", "tcp:1:interface=", ("a.pem",), ("a.key",)),
        ("ssl:1:a:extraCertChain=b", "tcp:1:interface=", ("a", "b"), ("a",)),
        ("ssl:1:a:interface=192.0.2.1:backlog=7", "tcp:1:interface=192.0.2.1:backlog=7", ("a",), ("a",)),
        (r"ssl:1:C\:\\a\=b.pem", "tcp:1:interface=", (r"C:\a=b.pem",), (r"C:\a=b.pem",)),
        (r"ssl:1:privateKey=a=b.pem", "tcp:1:interface=", ("a=b.pem",), ("a=b.pem",)),
        ("tls:/d:port=1", r"tcp:1:interface=\:\:", ("/d",), ()),
        ("tls:/d:1:interface=127.0.0.1:backlog=7", "tcp:1:interface=127.0.0.1:backlog=7", ("/d",), ()),
        ("TLS:/d", r"tcp:443:interface=\:\:", ("/d",), ()),
    ],
)
def test_endpoints_are_read_as_twisted_reads_them(
    endpoint: str, transport: str, certificates: tuple[str, ...], private_keys: tuple[str, ...]
) -> None:
    assert without_tls(endpoint) == (transport, TLSSettings(certificates, private_keys))


@pytest.mark.parametrize("endpoint", ["tcp:1", "unix:/ssl", "systemd:domain=INET:name=x", "haproxy:tcp:1", ""])
def test_other_endpoints_are_left_as_they_are(endpoint: str) -> None:
    assert without_tls(endpoint) == (endpoint, None)


# -- what is wrong with it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"certificate": 7}, "certificate: must be an array, not 7"),
        ({"certificate": [7]}, "certificate[0]: must be a string, not 7"),
        ({"certificate": []}, "certificate: must not be empty"),
        ({"certificate": "no.pem"}, "certificate: no.pem: No such file or directory"),
        ({"certificate": "empty.pem"}, "certificate: empty.pem: there is no certificate in it"),
        ({"certificate": "cert.pem"}, "private_key: there is no private key for the certificate CN=server"),
        ({"certificate": "ca.pem"}, "private_key: there is no private key for any of the certificates"),
        ({"certificate": "cert.pem", "private_key": "no.pem"}, "private_key: no.pem: No such file or directory"),
        (
            {"certificate": "cert.pem", "private_key": "other.key"},
            "private_key: other.key: the private key belongs to none of the certificates",
        ),
        ({"private_key": "key.pem"}, "private_key: is for a certificate, and there is none"),
        ({"client_ca": "ca.pem"}, "client_ca: says nothing without a certificate"),
        ({"minimum_tls": "1.2"}, "minimum_tls: says nothing without a certificate"),
        ({"certificate": "both.pem", "minimum_tls": "1.1"}, "minimum_tls: must be '1.2' or '1.3'"),
        ({"certificate": "both.pem", "minimum_tls": 1.3}, "minimum_tls: must be '1.2' or '1.3'"),
        ({"certificate": "both.pem", "client_ca": "key.pem"}, "client_ca: key.pem: there is no certificate in it"),
        ({"certificate": "both.pem", "client_certificates": "optional"}, "client_certificates: says nothing without "),
        (
            {"endpoint": "ssl:1:both.pem", "certificate": "both.pem"},
            "certificate: the endpoint names a certificate already",
        ),
        ({"endpoint": "ssl:1:no.pem"}, "endpoint: no.pem: No such file or directory"),
        (
            {"endpoint": "ssl:1:other.key:cert.pem"},
            "endpoint: other.key: the private key belongs to none of the certificates",
        ),
        (
            {"endpoint": "ssl:x:both.pem"},
            "endpoint: 'ssl:x:both.pem' is no server endpoint: invalid literal for int() with base 10: 'x'",
        ),
        (
            {"endpoint": "ssl:1:both.pem:colour=red"},
            "endpoint: 'ssl:1:both.pem:colour=red' is no server endpoint: got an unexpected keyword argument 'colour'",
        ),
        (
            {"endpoint": "ssl:1:both.pem:sslmethod=TLSv1_METHOD"},
            "endpoint: 'ssl:1:both.pem:sslmethod=TLSv1_METHOD' is no server endpoint: "
            "instead of sslmethod there is minimum_tls",
        ),
        (
            {"endpoint": "ssl:1:both.pem:dhParameters=x"},
            "endpoint: 'ssl:1:both.pem:dhParameters=x' is no server endpoint: dhParameters are of no use: ",
        ),
        (
            {"endpoint": "ssl"},
            "endpoint: 'ssl' is no server endpoint: missing 1 required positional argument: 'port'",
        ),
        ({"endpoint": "tls:/no/such"}, "endpoint: /no/such: No such file or directory"),
        (
            {"endpoint": "haproxy:ssl:1"},
            "endpoint: 'haproxy:ssl:1' is no server endpoint: TLS begins after HAProxy's protocol; "
            "give a listener on haproxy:tcp:… a certificate",
        ),
    ],
)
def test_a_problem_is_said_with_its_path(keys: dict[str, object], problem: str) -> None:
    [said] = problems(**keys)
    assert said.startswith(f"listener[0].{problem}")


def test_a_key_that_is_too_small_is_of_no_use() -> None:
    ROOT.issue("small", key=rsa.generate_private_key(65537, 1024)).write(Path("small.pem"))
    assert problems(certificate="small.pem") == [
        "listener[0].private_key: the certificate CN=small cannot be used: ee key too small"
    ]


def test_several_problems_are_said_at_once() -> None:
    assert problems(certificate="no.pem", private_key="no.key", client_ca="empty.pem", minimum_tls="1.0") == [
        "listener[0].certificate: no.pem: No such file or directory",
        "listener[0].client_ca: empty.pem: there is no certificate in it",
        "listener[0].minimum_tls: must be '1.2' or '1.3'",
    ]


# -- the documentation -------------------------------------------------------------------------------------------------


def documented() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", documented())
def test_the_examples_of_the_documentation_are_right(text: str) -> None:
    directory = Path("certificates")
    directory.mkdir()
    OTHER.write(directory / "other.pem")
    here = text.replace("/etc/txrouter/", "")
    assert here != text
    Path("router.toml").write_text(here, encoding="utf-8")
    assert Config.load("router.toml").listener[0].tls
