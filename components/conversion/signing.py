"""Signing: the last step of a file, which nothing changes afterwards."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.common.credentials.places import credential_files
from interfaces.batch import Ingredient
from interfaces.ics import ICS
from interfaces.record import Record

if TYPE_CHECKING:
    from components.common.credentials.identity import Identity


def identity_for(settings: ICS) -> "Identity | None":
    """The identity whose certificate signs; None where nothing is to be signed.

    One is made where the person has none. Raises `AtelierError` where it cannot sign today.
    """
    if not settings.sign:
        return None
    # Here and below: the libraries that sign are loaded by whoever signs, not by `--help`.
    from components.common.credentials.making import ready_identity

    return ready_identity(credential_files())


def signed(
    data: bytes,
    media_type: str,
    record: Record,
    settings: ICS,
    ingredients: Sequence[Ingredient] = (),
) -> bytes:
    """The file with credentials that say what its record says; as it is where none are asked for.

    Raises `AtelierError` where the person's certificate cannot sign.
    """
    identity = identity_for(settings)
    if identity is None:
        return data
    from components.common.credentials.signing import sign
    from components.conversion.manifest import manifest_of

    manifest = manifest_of(record, settings, ingredients)
    archives = [one.archive for one in ingredients]
    return sign(data, media_type, manifest, identity, archives)
