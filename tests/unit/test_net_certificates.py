"""Certificates and keys in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tests.net.authorities import authority
from txrouter.net.certificates import by_name, certificates_in, identities, stamps

ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
SERVER = MIDDLE.issue("server", "a.example", "*.B.example")
OTHER = ROOT.issue("other", "c.example")


def written(path: Path, *parts: bytes) -> str:
    path.write_bytes(b"".join(parts))
    return str(path)


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_a_certificate_and_its_key_may_lie_in_one_file(tmp_path: Path) -> None:
    [shown] = identities([written(tmp_path / "both", OTHER.key_pem, OTHER.pem)])
    assert shown.certificate == OTHER.certificate
    assert shown.names == ("c.example",)
    assert shown.chain == ()


def test_a_key_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    [shown] = identities([written(tmp_path / "cert", OTHER.pem)], [written(tmp_path / "key", OTHER.key_pem)])
    assert shown.certificate == OTHER.certificate


def test_a_key_may_come_with_its_parameters(tmp_path: Path) -> None:
    """As `openssl ecparam -genkey` writes it."""
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    old = bytes(OTHER.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    [shown] = identities([written(tmp_path / "cert", OTHER.pem)], [written(tmp_path / "key", parameters, old)])
    assert shown.certificate == OTHER.certificate


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_the_chain_is_found_in_any_order_and_without_its_root(tmp_path: Path, order: list[int]) -> None:
    parts = [SERVER.pem, MIDDLE.pem, ROOT.pem]
    file = written(tmp_path / "chain", *(parts[number] for number in order), SERVER.key_pem)
    [shown] = identities([file])
    assert shown.certificate == SERVER.certificate
    assert shown.chain == (MIDDLE.certificate,)


def test_only_who_signed_is_in_the_chain(tmp_path: Path) -> None:
    impostor = authority("middle", authority("root"))
    file = written(tmp_path / "chain", SERVER.pem, impostor.pem, MIDDLE.pem, SERVER.key_pem)
    [shown] = identities([file])
    assert shown.chain == (MIDDLE.certificate,)


def test_the_certificates_of_a_directory_are_in_the_order_of_its_files(tmp_path: Path) -> None:
    written(tmp_path / "2.pem", OTHER.pem)
    written(tmp_path / "1.pem", SERVER.pem)
    written(tmp_path / "3.pem", OTHER.key_pem, SERVER.key_pem, MIDDLE.pem)
    written(tmp_path / "README", b"something else")
    shown = identities([str(tmp_path)])
    assert [each.certificate for each in shown] == [SERVER.certificate, OTHER.certificate]
    assert shown[0].chain == (MIDDLE.certificate,)


def test_a_name_is_that_of_the_certificate_that_is_valid_longest(tmp_path: Path) -> None:
    old, new = (ROOT.issue("x", "c.example", ends=ends) for ends in (2, 3))
    parts = [each for issued in (OTHER, new, old) for each in (issued.pem, issued.key_pem)]
    found = by_name(identities([written(tmp_path / "all", *parts)]))
    assert {name: each.certificate for name, each in found.items()} == {"c.example": new.certificate}


def test_two_certificates_may_have_one_key(tmp_path: Path) -> None:
    again = ROOT.issue("other", "d.example", key=OTHER.key)
    shown = identities([written(tmp_path / "all", OTHER.pem, again.pem, OTHER.key_pem)])
    assert list(by_name(shown)) == ["c.example", "d.example"]


def test_names_are_in_lower_case(tmp_path: Path) -> None:
    assert identities([str(SERVER.write(tmp_path / "server"))])[0].names == ("a.example", "*.b.example")


# -- what is wrong -----------------------------------------------------------------------------------------------------


def problem(certificates: list[str], private_keys: list[str] | None = None) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        identities(certificates, private_keys or [])
    return str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    good = str(OTHER.write(tmp_path / "good"))
    assert problem([f"{tmp_path}/x.pem"]) == f"{tmp_path}/x.pem: No such file or directory"
    assert problem([good], [f"{tmp_path}/x.key"]) == f"{tmp_path}/x.key: No such file or directory"


def test_files_with_nothing_of_use_are_named(tmp_path: Path) -> None:
    good, empty = str(OTHER.write(tmp_path / "good")), written(tmp_path / "empty", b"")
    assert problem([good, empty]) == f"{empty}: there is no certificate in it"
    assert problem([good], [empty]) == f"{empty}: there is no private key in it"
    (tmp_path / "directory").mkdir()
    assert problem([f"{tmp_path}/directory"]) == f"{tmp_path}/directory: there is no certificate in it"


def test_half_a_file_is_of_no_use(tmp_path: Path) -> None:
    file = written(tmp_path / "half", OTHER.key_pem, OTHER.pem[:200])
    assert problem([file]) == f"{file}: there is no certificate in it"


def test_a_broken_certificate_and_a_broken_key_are_named(tmp_path: Path) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    file = written(tmp_path / "broken", broken)
    assert problem([file]).startswith(f"{file}: a certificate in it is of no use: ")
    file = written(tmp_path / "broken", OTHER.pem, broken.replace(b"CERTIFICATE", b"PRIVATE KEY"))
    assert problem([file]).startswith(f"{file}: the private key is of no use: ")


def test_an_encrypted_key_is_of_no_use(tmp_path: Path) -> None:
    locked = OTHER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    file = written(tmp_path / "locked", OTHER.pem, locked)
    assert problem([file]) == f"{file}: the private key is encrypted; there is nobody to ask for a password"


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    certificate, key = written(tmp_path / "cert", OTHER.pem), written(tmp_path / "key", SERVER.key_pem)
    assert problem([certificate], [key]) == f"{key}: the private key belongs to none of the certificates"


def test_a_certificate_without_a_key_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "both", OTHER.pem, OTHER.key_pem, SERVER.pem)
    assert problem([file]) == "there is no private key for the certificate CN=server"
    assert problem([written(tmp_path / "root", ROOT.pem)]) == "there is no private key for any of the certificates"


def test_authorities_need_no_keys(tmp_path: Path) -> None:
    file = written(tmp_path / "both", ROOT.pem, MIDDLE.pem)
    assert certificates_in([file]) == [ROOT.certificate, MIDDLE.certificate]


# -- whether they changed ----------------------------------------------------------------------------------------------


def test_whatever_happens_to_a_file_is_seen(tmp_path: Path) -> None:
    file, spare = tmp_path / "file.pem", tmp_path / "spare"
    seen = [stamps([str(file)])]
    file.write_bytes(b"a")
    seen.append(stamps([str(file)]))
    file.write_bytes(b"ab")
    seen.append(stamps([str(file)]))
    spare.write_bytes(b"ab")
    spare.rename(file)
    seen.append(stamps([str(file)]))
    file.unlink()
    file.symlink_to(spare)
    spare.write_bytes(b"ab")
    seen.append(stamps([str(file)]))
    assert len(set(seen)) == 5
    assert stamps([str(file)]) == seen[-1]


def test_what_comes_into_a_directory_is_seen(tmp_path: Path) -> None:
    before = stamps([str(tmp_path)])
    (tmp_path / "x.pem").write_bytes(b"")
    assert stamps([str(tmp_path)]) != before
