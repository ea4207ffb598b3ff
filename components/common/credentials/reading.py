"""Reading credentials: what a file's manifest says, and whether file and signature are intact.

Nothing is fetched from a network: a manifest that lies elsewhere is named, not downloaded.
"""

import io
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import c2pa  # pyright: ignore[reportMissingTypeStubs]
from pydantic import Field, JsonValue

from components.common.credentials.ingredients import may_hold_credentials
from interfaces.contract import Many, Message

_NOT_FOUND = "ManifestNotFound"
_REMOTE = "remote manifest"
_UNTRUSTED = "signingCredential.untrusted"
_TIMESTAMP_TRUSTED = "timeStamp.trusted"
_EXPIRED = "signingCredential.expired"
_TRAINING = ("c2pa.training-mining", "cawg.training-mining")

_Table: TypeAlias = dict[str, JsonValue]


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
    settings: dict[str, object] = {
        "version": 1,
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context(c2pa.Settings.from_json(json.dumps(settings)))


def _found(report: _Table) -> Credentials:
    manifests = _table(report.get("manifests"))
    active = _table(manifests.get(_text(report.get("active_manifest")) or ""))
    results = _table(_table(report.get("validation_results")).get("activeManifest"))
    failures = _codes(results.get("failure"))
    broken = tuple(code for code in failures if code != _UNTRUSTED)
    signature = _table(active.get("signature_info"))
    assertions = _assertions(active)
    return Credentials(
        is_intact=bool(active) and not set(broken) - {_EXPIRED},
        is_trusted=report.get("validation_state") == "Trusted",
        problems=broken,
        generator=_generator(active),
        signer=_text(signature.get("common_name")),
        issuer=_text(signature.get("issuer")),
        serial_number=_text(signature.get("cert_serial_number")),
        signed_at=_text(signature.get("time")),
        is_time_trusted=_TIMESTAMP_TRUSTED in _codes(results.get("success")),
        actions=_actions(assertions),
        ingredients=tuple(
            _ingredient(one, manifests) for one in _tables(active.get("ingredients"))
        ),
        training=_training(assertions),
        assertions={
            label: told
            for label, told in assertions.items()
            if not label.startswith("c2pa.actions") and label not in _TRAINING
        },
    )


def _table(value: JsonValue) -> _Table:
    return value if isinstance(value, dict) else {}


def _tables(value: JsonValue) -> list[_Table]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _assertions(manifest: _Table) -> _Table:
    return {str(one["label"]): one.get("data") for one in _tables(manifest.get("assertions"))}


def _codes(statuses: JsonValue) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(status.get("code")) for status in _tables(statuses)))


def _generator(manifest: _Table) -> str | None:
    for info in _tables(manifest.get("claim_generator_info")):
        return " ".join(str(info[part]) for part in ("name", "version") if info.get(part))
    return _text(manifest.get("claim_generator"))


def _actions(assertions: _Table) -> tuple[Action, ...]:
    found: list[Action] = []
    for label, told in assertions.items():
        if label.startswith("c2pa.actions"):
            found += [_action(one) for one in _tables(_table(told).get("actions"))]
    return tuple(found)


def _action(told: _Table) -> Action:
    agent = told.get("softwareAgent")
    software = agent.get("name") if isinstance(agent, dict) else agent
    source = told.get("digitalSourceType")
    return Action(
        action=str(told.get("action")),
        source_type=str(source).rpartition("/")[2] if source else None,
        software=None if software is None else str(software),
    )


def _ingredient(told: _Table, manifests: _Table) -> FoundIngredient:
    own = _table(manifests.get(_text(told.get("active_manifest")) or ""))
    results = _table(_table(told.get("validation_results")).get("activeManifest"))
    actions = _actions(_assertions(own))
    return FoundIngredient(
        name=_text(told.get("title")),
        relationship=str(told.get("relationship")),
        is_signed=bool(own),
        generator=_generator(own),
        source_types=tuple(one.source_type for one in actions if one.source_type),
        problems=tuple(c for c in _codes(results.get("failure")) if c != _UNTRUSTED),
    )


def _training(assertions: _Table) -> dict[str, str]:
    uses: dict[str, str] = {}
    for label in _TRAINING:
        entries = _table(_table(assertions.get(label)).get("entries"))
        for name, entry in entries.items():
            use = entry.get("use") if isinstance(entry, dict) else entry
            uses[name.partition(".")[2] or name] = str(use)
    return uses
