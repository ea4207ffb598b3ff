"""Signing: a manifest (C2PA 2.x) and the bytes of a file => the same file with credentials inside.

Every signature is another: C2PA salts its assertions with random bytes. So files that were signed
are compared by what they hold (`components.common.sameness`), never by their bytes.
"""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

import c2pa  # pyright: ignore[reportMissingTypeStubs]
import requests

from components.common.credentials.identity import Identity
from components.common.credentials.places import SERVICE_TOKEN
from interfaces.errors import AtelierError, RefusedError, UnavailableError

JsonValue: TypeAlias = (
    "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)
Manifest: TypeAlias = Mapping[str, JsonValue]
"""A manifest's definition as c2pa-rs reads it: claim_generator_info, assertions, ingredients."""

_SERVICE_SECONDS = 30

_SETTINGS = {
    "version": 1,
    # A thumbnail inside the signature would be larger than many of the pictures.
    "builder": {"thumbnail": {"enabled": False}},
    # The bytes were made a moment ago: checking them again would only take time.
    "verify": {
        "verify_after_sign": False,
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    },
}


@cache
def _context() -> c2pa.Context:
    return c2pa.Context(c2pa.Settings.from_json(json.dumps(_SETTINGS)))


def sign(
    data: bytes,
    media_type: str,
    manifest: Manifest,
    identity: Identity,
    ingredients: Sequence[bytes] = (),
) -> bytes:
    """Sign a file: the same pixels and metadata, with the manifest inside.

    `ingredients` are archives that `ingredient_archive` gave. Raises `RefusedError` where the
    certificate or the manifest is not accepted, `UnavailableError` where a service does not answer.
    """
    faults: list[AtelierError] = []
    signed = io.BytesIO()
    try:
        with c2pa.Builder(manifest, _context()) as builder, _signer(identity, faults) as signer:
            for archive in ingredients:
                builder.add_ingredient_from_archive(io.BytesIO(archive))
            builder.sign(signer, media_type, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise faults[0] if faults else _explained(error, identity) from error
    return signed.getvalue()


def ingredient_archive(data: bytes, media_type: str, described: Mapping[str, str]) -> bytes:
    """A file's own credentials, checked against its bytes, to be kept in another's.

    `described` has its 'relationship' and its 'label'. Raises `c2pa.C2paError` for a file whose
    format cannot hold credentials.
    """
    archive = io.BytesIO()
    with c2pa.Builder({}, _context()) as builder:
        builder.add_ingredient(dict(described), media_type, io.BytesIO(data))  # pyright: ignore[reportUnknownMemberType]
        builder.write_ingredient_archive(described["label"], archive)
    return archive.getvalue()


def _signer(identity: Identity, faults: list[AtelierError]) -> c2pa.Signer:
    services = identity.services
    if identity.key is None:
        algorithm = c2pa.C2paSigningAlg[identity.algorithm.upper()]
        chain = identity.chain_pem.decode()
        ask = _asking(services.signing or "", faults)
        return c2pa.Signer.from_callback(ask, algorithm, chain, services.timestamp)
    info = c2pa.C2paSignerInfo(
        identity.algorithm, identity.chain_pem, identity.key_pem, services.timestamp
    )
    return c2pa.Signer.from_info(info)


def _asking(url: str, faults: list[AtelierError]) -> Callable[[bytes], bytes]:
    """Ask a service to sign; c2pa hides what a callback raises, so it is noted in `faults`."""

    def ask(data: bytes) -> bytes:
        try:
            return ask_service(url, data)
        except AtelierError as error:
            faults.append(error)
            return b""

    return ask


def ask_service(url: str, data: bytes) -> bytes:
    """Post the bytes to sign; the answer's body is the signature as COSE has it (RFC 9053).

    The environment variable ATELIER_SIGNING_TOKEN is shown as a bearer token. Raises
    `UnavailableError` where the service does not answer, or not with a signature.
    """
    token = os.environ.get(SERVICE_TOKEN)
    headers = {"Content-Type": "application/octet-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = requests.post(url, data=data, headers=headers, timeout=_SERVICE_SECONDS)
    except requests.RequestException as error:
        raise UnavailableError(
            f"signing service {url}: cannot be reached ({type(error).__name__})"
        ) from error
    if answer.status_code != 200 or not answer.content:
        raise UnavailableError(
            f"signing service {url}: answered {answer.status_code} and no signature"
        )
    return answer.content


def _explained(error: c2pa.C2paError, identity: Identity) -> AtelierError:
    said, timestamp = str(error), identity.services.timestamp
    if timestamp and said.startswith("Signature"):
        return UnavailableError(
            f"time stamp service {timestamp}: gives no time stamp ({said}); try again later, or "
            "`credentials timestamps none`"
        )
    return RefusedError(f"the picture cannot be signed ({said}); see `credentials show`")
