# pyright: standard
"""Reading credentials: what a file's manifest says, and whether file and signature are intact.

Nothing is fetched from a network: a manifest that lies elsewhere is named, not downloaded.
"""

import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import c2pa
from pydantic import Field

from components.common.credentials.ingredients import may_hold_credentials
from interfaces.contract import Many, Message

_NOT_FOUND = "ManifestNotFound"
_REMOTE = "remote manifest"
_UNTRUSTED = "signingCredential.untrusted"
_TIMESTAMP_TRUSTED = "timeStamp.trusted"
# What says that bytes are not what was signed, as against who signed them.
_EXPIRED = "signingCredential.expired"
_TRAINING = ("c2pa.training-mining", "cawg.training-mining")


class Action(Message):
    """One step of a picture's history, as a manifest says it (C2PA 2.x, 18.15)."""

    action: str = Field(description="What was done: 'c2pa.created', 'c2pa.opened'.")
    source_type: str | None = Field(
        default=None, description="IPTC digital source type, the last part of its address."
    )
    software: str | None = Field(default=None, description="What did it.")


class FoundIngredient(Message):
    """A picture that another was made from, as the manifest of the latter says."""

    name: str | None = Field(default=None, description="Its title.")
    relationship: str = Field(description="'parentOf', 'componentOf' or 'inputTo'.")
    is_signed: bool = Field(description="True where it brought credentials of its own.")
    generator: str | None = Field(default=None, description="What made it, by its credentials.")
    source_types: Many[str] = Field(default=(), description="Source types of its actions.")
    problems: Many[str] = Field(
        default=(), description="What was wrong with its credentials when it was taken in."
    )


class Credentials(Message):
    """The credentials of one file."""

    is_intact: bool = Field(description="True where file and manifest are what was signed.")
    is_trusted: bool = Field(
        description="True where a given authority vouches for the certificate."
    )
    problems: Many[str] = Field(default=(), description="C2PA's codes of what is wrong.")
    generator: str | None = Field(default=None, description="Program that made the claim.")
    signer: str | None = Field(default=None, description="Name in the signing certificate.")
    issuer: str | None = Field(default=None, description="Organisation in that certificate.")
    serial_number: str | None = Field(default=None, description="Of that certificate, decimal.")
    signed_at: str | None = Field(
        default=None, description="Time by a time stamp service, ISO 8601; None: no time stamp."
    )
    is_time_trusted: bool = Field(
        default=False, description="True where a given authority vouches for the time stamp."
    )
    actions: Many[Action] = Field(default=(), description="What was done, in order.")
    ingredients: Many[FoundIngredient] = Field(default=(), description="What it was made from.")
    training: Mapping[str, str] = Field(
        default_factory=dict, description="Use in training and mining => 'notAllowed', 'allowed'."
    )
    assertions: Mapping[str, Any] = Field(
        default_factory=dict, description="Label => data of the other assertions."
    )


def read_credentials(
    data: bytes, media_type: str, anchors: Iterable[bytes] = ()
) -> Credentials | None:
    """The credentials in a file; None where it has none, or cannot have any.

    `anchors` are certificates (PEM) of authorities that are trusted. Credentials that cannot be
    read are given as not intact, with the reason.
    """
    if media_type not in c2pa.Reader.get_supported_mime_types():
        return None
    context = _context(b"".join(anchors).decode())
    try:
        with c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader:
            return _found(json.loads(reader.json()))
    except c2pa.C2paError as error:
        return _unreadable(str(error), data)


def _unreadable(said: str, data: bytes) -> Credentials | None:
    if said.startswith(_NOT_FOUND):
        return None
    if not may_hold_credentials(data) and _REMOTE not in said:
        return None  # the file itself is damaged, and no credentials are in sight
    return Credentials(is_intact=False, is_trusted=False, problems=(said.strip(": ")[:200],))


@lru_cache(maxsize=4)
def _context(anchors: str) -> c2pa.Context:
    settings: dict[str, Any] = {
        "version": 1,
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _found(report: Mapping[str, Any]) -> Credentials:
    manifests: Mapping[str, Any] = report.get("manifests", {})
    active: Mapping[str, Any] = manifests.get(report.get("active_manifest", ""), {})
    results = report.get("validation_results", {}).get("activeManifest", {})
    failures = _codes(results.get("failure", ()))
    broken = tuple(code for code in failures if code != _UNTRUSTED)
    signature: Mapping[str, Any] = active.get("signature_info", {})
    assertions = {one["label"]: one.get("data") for one in active.get("assertions", ())}
    return Credentials(
        is_intact=bool(active) and not set(broken) - {_EXPIRED},
        is_trusted=report.get("validation_state") == "Trusted",
        problems=broken,
        generator=_generator(active),
        signer=signature.get("common_name"),
        issuer=signature.get("issuer"),
        serial_number=signature.get("cert_serial_number"),
        signed_at=signature.get("time"),
        is_time_trusted=_TIMESTAMP_TRUSTED in _codes(results.get("success", ())),
        actions=_actions(assertions),
        ingredients=tuple(_ingredient(one, manifests) for one in active.get("ingredients", ())),
        training=_training(assertions),
        assertions={
            label: told
            for label, told in assertions.items()
            if not label.startswith("c2pa.actions") and label not in _TRAINING
        },
    )


def _codes(statuses: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(status.get("code")) for status in statuses))


def _generator(manifest: Mapping[str, Any]) -> str | None:
    for info in manifest.get("claim_generator_info") or ():
        return " ".join(str(info[part]) for part in ("name", "version") if info.get(part))
    return manifest.get("claim_generator")


def _actions(assertions: Mapping[str, Any]) -> tuple[Action, ...]:
    found: list[Action] = []
    for label, told in assertions.items():
        if label.startswith("c2pa.actions") and isinstance(told, Mapping):
            found += [_action(one) for one in told.get("actions", ())]
    return tuple(found)


def _action(told: Mapping[str, Any]) -> Action:
    agent = told.get("softwareAgent")
    software = agent.get("name") if isinstance(agent, Mapping) else agent
    source = told.get("digitalSourceType")
    return Action(
        action=str(told.get("action")),
        source_type=str(source).rpartition("/")[2] if source else None,
        software=None if software is None else str(software),
    )


def _ingredient(told: Mapping[str, Any], manifests: Mapping[str, Any]) -> FoundIngredient:
    own: Mapping[str, Any] = manifests.get(told.get("active_manifest") or "", {})
    results = (told.get("validation_results") or {}).get("activeManifest", {})
    actions = _actions({one["label"]: one.get("data") for one in own.get("assertions", ())})
    return FoundIngredient(
        name=told.get("title"),
        relationship=str(told.get("relationship")),
        is_signed=bool(own),
        generator=_generator(own),
        source_types=tuple(one.source_type for one in actions if one.source_type),
        problems=tuple(c for c in _codes(results.get("failure", ())) if c != _UNTRUSTED),
    )


def _training(assertions: Mapping[str, Any]) -> dict[str, str]:
    uses: dict[str, str] = {}
    for label in _TRAINING:
        entries = (assertions.get(label) or {}).get("entries", {})
        for name, entry in entries.items():
            use = entry.get("use") if isinstance(entry, Mapping) else entry
            uses[str(name).partition(".")[2] or str(name)] = str(use)
    return uses
