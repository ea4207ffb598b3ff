"""A signature beside what it signs, for files that have no place for credentials."""

import base64
from datetime import datetime
from itertools import pairwise
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from pydantic import Field

from components.common.credentials.identity import Identity, PrivateKey, algorithm_of
from components.common.credentials.signing import ask_service
from interfaces.contract import Message
from interfaces.errors import DamagedError, RefusedError

Algorithm = Literal["es256", "es384", "es512", "ed25519", "ps256"]

_HASHES = {
    "es256": hashes.SHA256(),
    "es384": hashes.SHA384(),
    "es512": hashes.SHA512(),
    "ps256": hashes.SHA256(),
}
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


class Signature(Message):
    """Detached signature of some bytes, with the certificates of whoever vouches for them."""

    algorithm: Algorithm = Field(description="As COSE names it (RFC 9053), in lower case.")
    signature: str = Field(description="The signature as COSE has it, in base64.")
    certificates: str = Field(description="The chain of certificates, PEM, the signer's first.")

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificates. Raises `DamagedError` where they cannot be read."""
        try:
            return x509.load_pem_x509_certificates(self.certificates.encode())
        except ValueError as error:
            raise DamagedError(f"signature: its certificates cannot be read ({error})") from error


def sign_bytes(data: bytes, identity: Identity) -> Signature:
    """Sign some bytes. Raises `UnavailableError` where a signing service does not answer."""
    algorithm = identity.algorithm
    if identity.key is None:
        raw = ask_service(identity.services.signing or "", data)
    else:
        raw = _signed(data, identity.key, algorithm)
    return Signature.model_validate(
        {
            "algorithm": algorithm,
            "signature": base64.b64encode(raw).decode(),
            "certificates": identity.chain_pem.decode(),
        }
    )


def check_signature(data: bytes, signature: Signature) -> list[x509.Certificate]:
    """The chain of the certificate whose key signed the bytes.

    Each is issued by the next. Whether to trust the last, and whether the first is valid still, is
    the caller's to say. Raises `DamagedError` where the signature does not hold.
    """
    chain = signature.chain
    certificate = chain[0]
    try:
        for issued, issuer in pairwise(chain):
            issued.verify_directly_issued_by(issuer)
        if signature.algorithm != algorithm_of(certificate):
            raise InvalidSignature
        raw = base64.b64decode(signature.signature, validate=True)
        _verify(data, raw, certificate, signature.algorithm)
    except (InvalidSignature, UnsupportedAlgorithm, RefusedError, ValueError, TypeError) as error:
        raise DamagedError("signature: does not hold for these bytes") from error
    return chain


def is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a certificate is valid at this time."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _signed(data: bytes, key: PrivateKey, algorithm: str) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _PSS, hashes.SHA256())
    size = (key.key_size + 7) // 8
    both = decode_dss_signature(key.sign(data, ec.ECDSA(_HASHES[algorithm])))
    return b"".join(number.to_bytes(size, "big") for number in both)


def _verify(data: bytes, raw: bytes, certificate: x509.Certificate, algorithm: str) -> None:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        half = len(raw) // 2
        numbers = (int.from_bytes(part, "big") for part in (raw[:half], raw[half:]))
        key.verify(encode_dss_signature(*numbers), data, ec.ECDSA(_HASHES[algorithm]))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(raw, data)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(raw, data, _PSS, hashes.SHA256())
    else:
        raise InvalidSignature
