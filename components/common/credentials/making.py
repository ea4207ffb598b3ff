"""Making a person's certificate: an authority of their own, and the certificate that signs.

The profile is C2PA's (specification 2.2, 14.5): version 3, digital signature alone, an extended key
usage, never a certificate authority. Without a time stamp a validator judges a signature by today's
date, so the signing certificate lasts for years: pictures must not turn invalid overnight.
"""

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from components.common.credentials.identity import (
    Identity,
    PrivateKey,
    Services,
    algorithm_of,
    check_dates,
    common_name,
    load_chain,
    load_key,
    load_services,
    open_identity,
)
from components.common.credentials.places import FOLDER, PASSPHRASE, Files
from components.common.durable import exclusive, replacing, write_bytes
from interfaces.contract import explain
from interfaces.errors import DamagedError, NotFoundError, RefusedError, UnavailableError

_log = logging.getLogger("atelier")

_AUTHORITY_YEARS, _SIGNER_YEARS = 20, 10
_SLACK = timedelta(hours=1)  # a machine that verifies may have a clock that is a little behind
_PEM = serialization.Encoding.PEM
_ORGANISATION = "Self-made with Atelier"
_AUTHORITY_OF = ", own authority"
# Document signing (RFC 9336), and e-mail protection for validators that do not know it.
_USES = (x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"), ExtendedKeyUsageOID.EMAIL_PROTECTION)


def ready_identity(files: Files) -> Identity:
    """The person's certificate; one is made where there is none, and a line says so.

    Raises what `open_identity` raises.
    """
    if not files.certificate.exists():
        try:
            _make_first(files)
        except OSError as error:
            raise UnavailableError(
                f"{files.folder}: no certificate to sign with can be made there "
                f"({error.strerror}); name another folder in {FOLDER}, or write unsigned "
                "(--no-sign)"
            ) from error
    return open_identity(files)


def _make_first(files: Files) -> None:
    with exclusive(files.folder / ".lock"):
        if files.certificate.exists():
            return  # another process was quicker
        make(files)
    _log.info(
        "made a certificate to sign pictures with, without a name, in %s; see `credentials show`",
        files.folder,
    )


def make(files: Files, name: str | None = None, passphrase: str | None = None) -> None:
    """Make an authority and a signing certificate, in place of any that are there.

    `name` is what validators show; without one the certificate names nobody. A passphrase encrypts
    both keys. Addresses of services that were set stay, but for a signing service, whose key is
    another.
    """
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("Own authority" if name is None else f"{name}{_AUTHORITY_OF}")
    authority = (
        _begun(subject, subject, key, now, _AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(files.authority_key, key, passphrase)
    write_bytes(files.authority, authority.public_bytes(_PEM))
    _issue(files, authority, key, name, passphrase)
    set_services(files, signing=None)


def renew(files: Files, passphrase: str | None) -> None:
    """Issue a new signing certificate and key by the same authority, under the same name.

    Whoever trusts the authority trusts the new one. Raises `AtelierError` where the authority is
    missing, as for a certificate from elsewhere, or has expired.
    """
    if not files.authority.exists():
        raise NotFoundError(
            f"{files.authority}: there is none; a certificate from elsewhere is renewed by whoever "
            "issued it, and taken in again with `credentials import`"
        )
    authority = load_chain(files.authority)[0]
    if authority.not_valid_after_utc < datetime.now(UTC):
        raise RefusedError(
            f"{files.authority}: the authority has expired by this machine's clock; make a new one "
            "with `credentials make --replace`"
        )
    key = load_key(files.authority_key, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DamagedError(f"{files.authority_key}: is not the key that Atelier made")
    _issue(files, authority, key, _name_in(files, authority), passphrase)


def _name_in(files: Files, authority: x509.Certificate) -> str | None:
    """The name to sign with: the certificate's own; of a lost one, that in the authority's."""
    if files.certificate.exists():
        return common_name(load_chain(files.certificate)[0])
    of = common_name(authority) or ""
    return of.removesuffix(_AUTHORITY_OF) if of.endswith(_AUTHORITY_OF) else None


def take_in(files: Files, chain: Path, key: Path | None, service: str | None) -> None:
    """Sign with a certificate from elsewhere from now on, in place of the one that is there.

    `chain` is PEM, the signing certificate first; its key is a PEM file too, or the `service` at an
    address has it. The key stays encrypted as it is. Raises `AtelierError` where they do not belong
    together.
    """
    certificates = load_chain(chain)
    algorithm_of(certificates[0])
    check_dates(certificates[0], datetime.now(UTC))
    if key is not None:
        secret = os.environ.get(PASSPHRASE)
        if load_key(key, secret).public_key() != certificates[0].public_key():
            raise RefusedError(f"{key}: is not the key of the first certificate in {chain}")
    set_services(files, signing=service)
    if key is not None:
        _write_private(files.key, key.read_bytes())
    else:
        files.key.unlink(missing_ok=True)
    for own in (files.authority, files.authority_key):
        own.unlink(missing_ok=True)
    write_bytes(files.certificate, chain.read_bytes())


def set_services(files: Files, **addresses: str | None) -> None:
    """Keep the addresses that signing asks: `signing`, `timestamp`, or both; None: none.

    Raises `RefusedError` for what is no address.
    """
    services = load_services(files)
    try:
        changed = services.model_copy(update=addresses)
    except ValidationError as error:
        raise RefusedError(explain(error, "credentials", Services)) from error
    write_bytes(files.services, changed.model_dump_json().encode())


def export_anchor(files: Files, target: Path) -> None:
    """Write the certificate that others put on a trust list: of the authority, else the issuer's.

    Raises `NotFoundError` where there is none.
    """
    anchor = load_chain(files.authority if files.authority.exists() else files.certificate)[-1]
    write_bytes(target, anchor.public_bytes(_PEM))


def _issue(
    files: Files,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    name: str | None,
    passphrase: str | None,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _begun(_subject(name), authority.subject, key, datetime.now(UTC), _SIGNER_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USES), critical=False)
        .add_extension(by, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    # The key first: a certificate without its key would pass for one whose key is lost.
    _write_key(files.key, key, passphrase)
    chain = (certificate, authority)
    write_bytes(files.certificate, b"".join(one.public_bytes(_PEM) for one in chain))


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    years: int,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + timedelta(days=365 * years))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _subject(name: str | None) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)
    named = [] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]
    return x509.Name([organisation, *named])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: PrivateKey, passphrase: str | None) -> None:
    secret = passphrase.encode() if passphrase else None
    encryption = (
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    )
    _write_private(path, key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption))


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody but its owner could read at any moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
