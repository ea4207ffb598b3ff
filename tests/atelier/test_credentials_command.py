"""The commands of the certificate: what they do, what they say, what they refuse."""

import io
from pathlib import Path

import pytest

from atelier.commands import credentials as command
from components.common.credentials.identity import common_name, load_chain, load_services
from components.common.credentials.making import make
from components.common.credentials.places import PASSPHRASE, Files, credential_files
from interfaces.errors import AtelierError, NotFoundError, RefusedError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """An empty folder for certificates."""
    monkeypatch.setenv("ATELIER_CREDENTIALS", str(tmp_path / "mine"))
    return credential_files()


def test_made_shown_and_renewed(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFoundError, match="there is no certificate"):
        command.show_credentials()
    command.make_credentials(name="Ada")
    before = load_chain(files.certificate)[0]
    assert common_name(before) == "Ada"
    command.show_credentials()
    shown = capsys.readouterr().out
    assert "name:          Ada" in shown
    assert "It can sign now." in shown
    command.renew_credentials()
    assert load_chain(files.certificate)[0] != before


def test_without_a_name_the_certificate_names_nobody(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    command.make_credentials()
    for _ in range(2):
        assert common_name(load_chain(files.certificate)[0]) is None
        command.show_credentials()
        assert "name:          none" in capsys.readouterr().out
        command.renew_credentials()


def test_one_that_is_there_is_replaced_only_where_asked(files: Files) -> None:
    command.make_credentials(name="Ada")
    with pytest.raises(RefusedError, match="--replace"):
        command.make_credentials(name="Eve")
    assert common_name(load_chain(files.certificate)[0]) == "Ada"
    command.make_credentials(name="Eve", replace=True)
    assert common_name(load_chain(files.certificate)[0]) == "Eve"


def test_encrypted_with_the_passphrase_of_the_environment(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(RefusedError, match=PASSPHRASE):
        command.make_credentials(encrypt=True)
    assert not files.certificate.exists()
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    command.make_credentials(encrypt=True)
    command.show_credentials()
    command.renew_credentials()
    assert b"ENCRYPTED" in files.key.read_bytes()


def test_what_cannot_sign_is_said_after_it_is_shown(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    command.make_credentials(name="Ada")
    files.key.unlink()
    with pytest.raises(NotFoundError, match="the private key is gone"):
        command.show_credentials()
    assert "name:          Ada" in capsys.readouterr().out


def test_exported_and_taken_in_elsewhere(files: Files, tmp_path: Path) -> None:
    command.make_credentials(name="Ada")
    command.export_credentials(tmp_path / "anchor.pem")
    assert load_chain(tmp_path / "anchor.pem") == load_chain(files.authority)
    theirs = Files(tmp_path / "theirs")
    make(theirs, "Office")
    for wrong in ({}, {"key": theirs.key, "service": "http://127.0.0.1:1"}):
        with pytest.raises(RefusedError, match="either --key or --service"):
            command.import_credentials(theirs.certificate, **wrong)
    command.import_credentials(theirs.certificate, key=theirs.key)
    assert common_name(load_chain(files.certificate)[0]) == "Office"
    command.import_credentials(theirs.certificate, service="http://127.0.0.1:1")
    assert load_services(files).signing == "http://127.0.0.1:1"
    assert not files.key.exists()


def test_a_time_stamp_service_is_set_and_taken_away(files: Files) -> None:
    command.make_credentials()
    command.set_timestamps("http://127.0.0.1:1")
    assert load_services(files).timestamp == "http://127.0.0.1:1"
    with pytest.raises(AtelierError, match="timestamp"):
        command.set_timestamps("somewhere")
    command.set_timestamps("none")
    assert load_services(files).timestamp is None
