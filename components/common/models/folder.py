"""A model's folder prepared for publication: its contents, and its signature.

model.json             the model (IGME); a folder without it is no model
README.md              the model card
bom.json               what software made it (CycloneDX)
manifest.json          every file's SHA-256, and the model's digest, which pictures name
manifest.sig.json      the signature over manifest.json
"""

import hashlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from components.common.credentials.places import credential_files
from components.common.durable import sha256_of, write_text
from components.common.models.bill import bill_of
from components.common.models.card import card_of
from interfaces.contract import Message, Sha256, unreadable
from interfaces.errors import AtelierError, DamagedError, NotFoundError
from interfaces.igme import IGME, MODEL_FILE

_log = logging.getLogger("atelier")

_Read = TypeVar("_Read", bound=Message)

_CARD, _BILL = "README.md", "bom.json"
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig.json"


class Manifest(Message):
    """Every file of a model's folder."""

    model_digest: Sha256 = Field(description="Digest of the model, as its pictures name it (IGME).")
    files: dict[str, Sha256] = Field(description="File name => SHA-256.")


class ModelSeal(Message):
    """Findings about a model's folder and its signature."""

    state: Literal["intact", "changed", "unsigned"] = Field(
        description="Whether every file is as it was signed; 'unsigned': there is nothing to check."
    )
    model_digest: Sha256 = Field(description="Digest of the model as it is now.")
    signer: str | None = Field(default=None, description="Name in the certificate that signed.")
    is_yours: bool = Field(default=False, description="True where it is your own certificate.")
    problem: str | None = Field(default=None, description="What is wrong, in one line.")

    def line(self) -> str:
        """The answer in one line."""
        if self.state == "unsigned":
            return f"unsigned ({self.problem})"
        name = repr(self.signer) if self.signer else "somebody unnamed"
        whose = "with your key" if self.is_yours else f"by {name}, an unknown key"
        if self.state == "changed":
            return f"changed ({self.problem})"
        return f"intact, signed {whose}" + (f" ({self.problem})" if self.problem else "")


def complete_model(model: IGME) -> None:
    """Write all that a model's folder holds beside its weights, `model.json` last.

    So a folder that a killed process left is no model yet, and is written anew. A certificate that
    cannot sign today keeps no model from being finished: it is named in the log, and the model is
    left unsigned.
    """
    folder, description = model.directory, model.manifest()
    write_text(folder / _CARD, card_of(model))
    write_text(folder / _BILL, bill_of(model))
    digests = {path.name: sha256_of(path) for path in _files_in(folder)}
    digests[MODEL_FILE] = hashlib.sha256(description.encode()).hexdigest()
    manifest = Manifest(model_digest=model.digest, files=dict(sorted(digests.items())))
    (folder / _SIGNATURE).unlink(missing_ok=True)  # of what lay here before
    write_text(folder / _MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    try:
        _sign(folder)
    except AtelierError as error:
        _log.warning("%s: the model is not signed (%s)", folder, error)
    write_text(folder / MODEL_FILE, description)


def check_model(model: IGME) -> ModelSeal:
    """Compare a model's folder with its manifest and the signature over that."""
    folder, digest = model.directory, model.digest
    if not (folder / _SIGNATURE).exists():
        said = f"{folder} holds no {_SIGNATURE}"
        return ModelSeal(state="unsigned", model_digest=digest, problem=said)
    try:
        signer, is_yours, problem = _checked_signer(folder)
        _compare(folder, _read(folder / _MANIFEST, Manifest), digest)
    except AtelierError as error:
        return ModelSeal(state="changed", model_digest=digest, problem=str(error))
    return ModelSeal(
        state="intact", model_digest=digest, signer=signer, is_yours=is_yours, problem=problem
    )


def _files_in(folder: Path) -> Iterable[Path]:
    own = {_MANIFEST, _SIGNATURE}
    return (path for path in folder.iterdir() if path.is_file() and _is_kept(path.name, own))


def _is_kept(name: str, own: set[str]) -> bool:
    return not name.startswith(".") and name not in own


def _sign(folder: Path) -> None:
    from components.common.credentials.detached import sign_bytes
    from components.common.credentials.making import ready_identity

    signature = sign_bytes((folder / _MANIFEST).read_bytes(), ready_identity(credential_files()))
    write_text(folder / _SIGNATURE, signature.model_dump_json(indent=2) + "\n")


def _checked_signer(folder: Path) -> tuple[str | None, bool, str | None]:
    """Name of the signer, if any, whether it is the person themself, and a problem with it.

    Raises `AtelierError`.
    """
    from components.common.credentials.detached import Signature, check_signature, is_valid
    from components.common.credentials.identity import common_name, load_chain

    signature = _read(folder / _SIGNATURE, Signature)
    manifest = folder / _MANIFEST
    if not manifest.exists():
        raise NotFoundError(f"{manifest}: is gone, though it was signed")
    chain = check_signature(manifest.read_bytes(), signature)
    # The files are as they were signed all the same.
    is_dated = is_valid(chain[0], datetime.now(UTC))
    problem = None if is_dated else "the certificate is not valid at this time"
    files = credential_files()
    # The authority stays when the certificate is renewed; one from elsewhere has no authority here.
    if files.authority.exists():
        is_yours = chain[-1] == load_chain(files.authority)[0]
    else:
        is_yours = files.certificate.exists() and chain[0] == load_chain(files.certificate)[0]
    return common_name(chain[0]), is_yours, problem


def _compare(folder: Path, manifest: Manifest, digest: str) -> None:
    if manifest.model_digest != digest:
        raise DamagedError(f"{folder / 'model.json'}: describes another model than was signed")
    for name, sha256 in manifest.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise DamagedError(f"{path}: is missing")
        if sha256_of(path) != sha256:
            raise DamagedError(f"{path}: is not what was signed")
    if added := sorted({path.name for path in _files_in(folder)} - manifest.files.keys()):
        raise DamagedError(f"{folder / added[0]}: was added after it was signed")


def _read(path: Path, model: type[_Read]) -> _Read:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: is gone") from error
    except ValidationError as error:
        raise unreadable(error, str(path)) from error
