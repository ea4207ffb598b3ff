"""The certificate that a person signs with: where it lies, and whether it can be used today.

    authority.pem, authority.key.pem   the person's own certificate authority
    signer.pem, signer.key.pem         the certificate chain that signs, its own certificate first
    services.json                      addresses of a signing and of a time stamp service

Keys are PKCS#8, readable by their owner alone, encrypted where a passphrase was given. The folder
is the person's, not a workspace's: a workspace may be shared, and a key may not.
"""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from pydantic import Field, ValidationError

from components.common.credentials.places import PASSPHRASE, Files
from interfaces.contract import Message, unreadable
from interfaces.errors import DamagedError, NotFoundError, RefusedError

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_PEM = serialization.Encoding.PEM
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Services(Message):
    """Addresses that signing asks over the network; None: nothing is asked."""

    signing: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Signs what is posted to it, in place of a private key on this machine.",
    )
    timestamp: str | None = Field(
        default=None, pattern=r"^https?://", description="Time stamp service (RFC 3161)."
    )


@dataclass(frozen=True)
class Identity:
    """A certificate chain that can sign now, with its key or the service that has it."""

    chain: tuple[x509.Certificate, ...]
    """The signing certificate first, then whoever vouches for it."""
    key: PrivateKey | None
    """None where a service has it."""
    services: Services

    @property
    def certificate(self) -> x509.Certificate:
        """The one whose key signs."""
        return self.chain[0]

    @cached_property
    def chain_pem(self) -> bytes:
        """The whole chain as PEM."""
        return b"".join(one.public_bytes(_PEM) for one in self.chain)

    @cached_property
    def key_pem(self) -> bytes:
        """The private key as PKCS#8 in PEM, not encrypted: for memory, never for a disk."""
        assert self.key is not None, "a service has the key"
        none = serialization.NoEncryption()
        return self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, none)

    @property
    def algorithm(self) -> str:
        """The signature's name in C2PA 2.x (13.2): 'es256', 'ed25519', 'ps256'."""
        return algorithm_of(self.certificate)


def algorithm_of(certificate: x509.Certificate) -> str:
    """The C2PA name of what a certificate's key signs with. Raises `RefusedError`."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    raise RefusedError(
        f"certificate {certificate.subject.rfc4514_string()}: its kind of key cannot sign content "
        "credentials; use one with a P-256, P-384, P-521, Ed25519 or RSA (2048 bits or more) key"
    )


def common_name(certificate: x509.Certificate) -> str | None:
    """Name of a certificate's owner, as it says itself; None where it names nobody."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, hexadecimal: what two people compare to be sure of a key."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def open_identity(files: Files, now: datetime | None = None) -> Identity:
    """The person's certificate, checked to be usable at this moment (UTC), which is the clock's.

    Raises `NotFoundError` where there is none or its key is lost, `RefusedError` where it has
    expired, is not valid yet, needs a passphrase or lies open to others, `DamagedError` for what
    cannot be read.
    """
    identity = _open(files, _stamps(files), os.environ.get(PASSPHRASE))
    check_dates(identity.certificate, now or datetime.now(UTC))
    return identity


def check_dates(certificate: x509.Certificate, now: datetime) -> None:
    """Raise `RefusedError` where a certificate has expired or is not valid yet."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        raise RefusedError(
            f"the signing certificate is valid from {begins:%Y-%m-%d %H:%M} UTC, and this "
            f"machine's clock says {now:%Y-%m-%d %H:%M}; set the clock, or if it is right, "
            "`credentials renew`"
        )
    if now > ends:
        raise RefusedError(
            f"the signing certificate expired on {ends:%Y-%m-%d}, by this machine's clock "
            f"({now:%Y-%m-%d}); `credentials renew` makes a new one"
        )


def load_services(files: Files) -> Services:
    """Addresses of services that were set; none where nothing was. Raises `AtelierError`."""
    try:
        return Services.model_validate_json(files.services.read_bytes())
    except FileNotFoundError:
        return Services()
    except ValidationError as error:
        raise unreadable(error, str(files.services)) from error


def load_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file, in their order. Raises `NotFoundError`, `DamagedError`."""
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: there is no certificate") from error
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: holds no certificates in PEM ({error})") from error


def load_key(path: Path, passphrase: str | None) -> PrivateKey:
    """The private key in a PEM file that only its owner can read.

    Raises `NotFoundError` where it is gone, `RefusedError` where others can read it or the
    passphrase is missing or wrong, `DamagedError` where it is no key that can sign.
    """
    if not path.exists():
        raise NotFoundError(
            f"{path}: the private key is gone; put a copy back, or make a new certificate with "
            "`credentials make --replace` (what was signed before stays verifiable)"
        )
    _check_is_private(path)
    key = _decrypted(path, passphrase)
    if not isinstance(key, PrivateKey):
        raise DamagedError(f"{path}: a kind of key that signs no content credentials")
    return key


def _check_is_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & _READABLE_BY_OTHERS:
        raise RefusedError(f"{path}: others can read this private key (mode {mode:o}); chmod 600")


def _decrypted(path: Path, passphrase: str | None) -> object:
    secret = passphrase.encode() if passphrase else None
    data = path.read_bytes()
    try:
        return serialization.load_pem_private_key(data, secret)
    except TypeError as error:
        if secret is not None:  # a passphrase for a key that needs none
            return serialization.load_pem_private_key(data, None)
        raise RefusedError(
            f"{path}: the private key is encrypted; give its passphrase in {PASSPHRASE}"
        ) from error
    except ValueError as error:
        if b"ENCRYPTED" in data:
            raise RefusedError(f"{path}: {PASSPHRASE} is not this key's passphrase") from error
        raise DamagedError(f"{path}: holds no private key ({error})") from error


def _stamps(files: Files) -> tuple[int, ...]:
    """Times of the files' last changes, in ns; what was read holds while these stay the same."""
    paths = (files.certificate, files.key, files.services)
    return tuple(path.stat().st_ctime_ns if path.exists() else 0 for path in paths)


@lru_cache(maxsize=8)
def _open(files: Files, stamps: tuple[int, ...], passphrase: str | None) -> Identity:
    chain, services = load_chain(files.certificate), load_services(files)
    key = None if services.signing else load_key(files.key, passphrase)
    if key is not None and key.public_key() != chain[0].public_key():
        raise DamagedError(f"{files.key}: is not the key of {files.certificate}")
    return Identity(chain, key, services)
