"""The person's certificate: its files, and one line for everything that can be wrong with it."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ExtendedKeyUsage

from components.common.credentials.identity import (
    check_dates,
    common_name,
    load_chain,
    load_key,
    load_services,
    open_identity,
)
from components.common.credentials.making import (
    export_anchor,
    make,
    ready_identity,
    renew,
    set_services,
    take_in,
)
from components.common.credentials.places import PASSPHRASE, Files
from interfaces.errors import AtelierError, DamagedError, NotFoundError, RefusedError


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "mine")


@pytest.fixture
def made(files: Files) -> Files:
    make(files, "Ada")
    return files


def test_the_first_use_makes_one_and_says_so_in_one_line(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="atelier")
    first = ready_identity(files)
    assert [str(files.folder) in record.getMessage() for record in caplog.records] == [True]
    assert ready_identity(files).certificate == first.certificate
    assert len(caplog.records) == 1


def test_keys_are_readable_by_their_owner_alone(made: Files) -> None:
    for key in (made.key, made.authority_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert b"BEGIN PRIVATE KEY" in key.read_bytes()  # PKCS#8


def test_another_library_finds_the_chain_sound(made: Files) -> None:
    certificate, authority = load_chain(made.certificate)
    certificate.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    assert common_name(certificate) == "Ada"
    uses = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
    assert "1.3.6.1.5.5.7.3.4" in {use.dotted_string for use in uses}  # e-mail protection
    assert load_key(made.key, None).public_key() == certificate.public_key()


def test_a_passphrase_encrypts_both_keys(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    make(files, "Ada", "open sesame")
    for key in (files.key, files.authority_key):
        assert b"ENCRYPTED" in key.read_bytes()
    with pytest.raises(RefusedError, match=f"give its passphrase in {PASSPHRASE}"):
        open_identity(files)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(RefusedError, match="not this key's passphrase"):
        open_identity(files)
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    assert open_identity(files).key is not None


def test_a_passphrase_that_is_not_needed_does_no_harm(
    made: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE, "for another key")
    assert open_identity(made).key is not None


def test_a_key_that_others_can_read_is_refused(made: Files) -> None:
    made.key.chmod(0o644)
    with pytest.raises(RefusedError, match="others can read this private key \\(mode 644\\)"):
        open_identity(made)


def test_a_lost_key_is_named(made: Files) -> None:
    made.key.unlink()
    with pytest.raises(NotFoundError, match="the private key is gone"):
        open_identity(made)


def test_a_key_of_another_certificate_is_named(made: Files, tmp_path: Path) -> None:
    other = Files(tmp_path / "other")
    make(other)
    made.key.write_bytes(other.key.read_bytes())
    with pytest.raises(DamagedError, match="is not the key of"):
        open_identity(made)


@pytest.mark.parametrize("damage", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_file_is_named(made: Files, damage: bytes) -> None:
    made.key.write_bytes(damage)
    with pytest.raises(DamagedError, match=r"signer\.key\.pem"):
        open_identity(made)
    made.certificate.write_bytes(damage)
    with pytest.raises(DamagedError, match=r"signer\.pem"):
        open_identity(made)


def test_dates_are_judged_by_the_clock(made: Files) -> None:
    certificate = open_identity(made).certificate
    now = datetime.now(UTC)
    check_dates(certificate, now + timedelta(days=365 * 9))
    with pytest.raises(RefusedError, match=r"expired on .* `credentials renew`"):
        check_dates(certificate, now + timedelta(days=365 * 11))
    with pytest.raises(RefusedError, match=r"this machine's clock says .* set the clock"):
        check_dates(certificate, now - timedelta(days=2))


def test_renewing_keeps_the_authority_and_the_name(made: Files) -> None:
    before, authority = load_chain(made.certificate)
    renew(made, None)
    after, same = load_chain(made.certificate)
    assert same == authority
    assert after != before
    assert common_name(after) == common_name(before)
    after.verify_directly_issued_by(authority)
    assert open_identity(made).certificate == after


def test_renewing_keeps_a_long_name(tmp_path: Path) -> None:
    files, name = (
        Files(tmp_path / "long"),
        "The Museum of Fine Arts and Printmaking of the North Sea",
    )
    make(files, name)
    renew(files, None)
    assert common_name(load_chain(files.certificate)[0]) == name


def test_a_certificate_from_elsewhere_is_taken_in(made: Files, tmp_path: Path) -> None:
    theirs = Files(tmp_path / "theirs")
    make(theirs, "Office")
    take_in(made, theirs.certificate, theirs.key, None)
    assert common_name(open_identity(made).certificate) == "Office"
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    with pytest.raises(NotFoundError, match="renewed by whoever issued it"):
        renew(made, None)
    export_anchor(made, tmp_path / "anchor.pem")
    assert load_chain(tmp_path / "anchor.pem") == load_chain(theirs.authority)


def test_a_key_that_does_not_fit_changes_nothing(made: Files, tmp_path: Path) -> None:
    theirs = Files(tmp_path / "theirs")
    make(theirs, "Office")
    before = {path: path.read_bytes() for path in made.folder.iterdir()}
    with pytest.raises(RefusedError, match="is not the key of the first certificate"):
        take_in(made, theirs.certificate, made.key, None)
    assert {path: path.read_bytes() for path in made.folder.iterdir()} == before


def test_only_addresses_are_taken_for_services(made: Files) -> None:
    set_services(made, timestamp="http://127.0.0.1:1/tsa")
    assert load_services(made).timestamp == "http://127.0.0.1:1/tsa"
    with pytest.raises(AtelierError, match="timestamp"):
        set_services(made, timestamp="ftp://somewhere")
    set_services(made, timestamp=None)
    assert load_services(made).timestamp is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(AtelierError, match="ATELIER_CREDENTIALS"):
        ready_identity(Files(tmp_path / "mine"))
