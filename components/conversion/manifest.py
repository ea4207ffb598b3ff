"""The manifest of a picture's credentials (C2PA 2.x): what was done, from what, by which model."""

from collections.abc import Iterable, Sequence

from components.common.credentials.ingredients import label_of
from components.common.credentials.signing import JsonValue, Manifest
from components.conversion.watermark import ALGORITHM, bound_value
from components.conversion.xmp import EDITED, GENERATED, RESAMPLED
from interfaces.batch import Ingredient
from interfaces.ics import ICS
from interfaces.record import FileOrigin, GeneratedOrigin, Record

PROGRAM = "Atelier"
"""The name in a claim; whoever signs could write it as well."""

PICTURE = "atelier.picture"
"""Label of our own assertion: which model made the picture, from which seed."""

_USES = ("ai_training", "ai_generative_training", "ai_inference", "data_mining")

_Json = dict[str, JsonValue]


def manifest_of(record: Record, settings: ICS, ingredients: Sequence[Ingredient] = ()) -> Manifest:
    """The definition for a picture with this record.

    A file that the picture was made from is named by its own credentials where it brought any
    (`ingredients`), else by the record.
    """
    actions = _actions(record, ingredients)
    if settings.watermark is not None:
        actions.append(_action("c2pa.watermarked.bound", agent={"name": "TrustMark"}))
    assertions: list[JsonValue] = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions}},
        {"label": PICTURE, "data": _picture(record)},
    ]
    if settings.watermark is not None:
        assertions.append(_bound(settings.watermark))
    if settings.forbid_training:
        assertions += [_forbidding(namespace) for namespace in ("c2pa", "cawg")]
    return {
        "claim_generator_info": [_program(record)],
        "ingredients": _unsigned(record, {one.sha256 for one in ingredients}),
        "assertions": assertions,
    }


def _program(record: Record) -> _Json:
    return {"name": PROGRAM, "version": record.software.removeprefix("atelier ")}


def _bound(watermark: str) -> _Json:
    """The watermark's id, by which the manifest is found for a stripped copy."""
    block: _Json = {"scope": {}, "value": bound_value(watermark)}
    return {"label": "c2pa.soft-binding", "data": {"alg": ALGORITHM, "blocks": [block]}}


def _forbidding(namespace: str) -> _Json:
    """Nobody may train on the picture or mine it (C2PA 1.4, 18.21; CAWG 1.1)."""
    entries: _Json = {f"{namespace}.{use}": {"use": "notAllowed"} for use in _USES}
    return {"label": f"{namespace}.training-mining", "data": {"entries": entries}}


def _picture(record: Record) -> _Json:
    """Facts that fix the pixels: all that another would need to make the picture again."""
    enhancement = record.enhancement
    told: _Json = {"enlarged_by": enhancement.enhancer, "scale": enhancement.scale}
    told["enlarging_weights_sha256"] = enhancement.weights_sha256
    origin = record.origin
    if isinstance(origin, FileOrigin):
        return told | {"file_sha256": origin.sha256}
    return told | {
        "family": origin.family,
        "model_digest": origin.model_digest,
        "seed": origin.seed,
        "dataset_digest": origin.dataset_digest,
    }


# ---------------------------------------------------------------- what it was made from


def _unsigned(record: Record, known: set[str]) -> list[JsonValue]:
    """The files that the record names and that brought no credentials, as ingredients.

    They have no names here: those stand in the record, and a manifest stays in every copy.
    """
    origin = record.origin
    is_own = isinstance(origin, FileOrigin)
    relationship = "parentOf" if is_own else "inputTo"
    digests = dict.fromkeys(file.sha256 for file in ((origin,) if is_own else origin.inputs))
    return [
        {"label": label_of(sha256), "relationship": relationship}
        for sha256 in digests
        if sha256 not in known
    ]


# ---------------------------------------------------------------- what was done


def _actions(record: Record, ingredients: Sequence[Ingredient]) -> list[JsonValue]:
    origin, parent = record.origin, _parent_of(record, ingredients)
    if parent is None:
        assert isinstance(origin, GeneratedOrigin)
        return [_created(record, origin, ingredients), *_enlarged(record)]
    opened = _action("c2pa.opened", refers_to=[parent])
    if isinstance(origin, FileOrigin):
        return [opened, *_enlarged(record), _action("c2pa.transcoded")]
    if parent in {given.sha256 for given in origin.inputs}:
        made = _action("c2pa.edited", GENERATED, agent=_agent_of(origin))
        return [opened, made, *_enlarged(record)]
    # The picture itself, in another format: its own credentials say how it was made.
    return [opened, _action("c2pa.transcoded")]


def _parent_of(record: Record, ingredients: Iterable[Ingredient]) -> str | None:
    """Digest of the file that the picture is a version of; None where a model made it."""
    if isinstance(record.origin, FileOrigin):
        return record.origin.sha256
    return next((one.sha256 for one in ingredients if one.relationship == "parentOf"), None)


def _created(record: Record, origin: GeneratedOrigin, ingredients: Iterable[Ingredient]) -> _Json:
    signed = [one.sha256 for one in ingredients]
    given = [one.sha256 for one in origin.inputs]
    agent = _agent_of(origin) | {"version": record.software.removeprefix("atelier ")}
    inputs = list(dict.fromkeys(signed + given))
    return _action("c2pa.created", GENERATED, agent=agent, refers_to=inputs)


def _enlarged(record: Record) -> list[JsonValue]:
    enhancement = record.enhancement
    if enhancement.scale == 1 and enhancement.weights_sha256 is None:
        return []
    agent: _Json = {"name": enhancement.enhancer}
    if enhancement.weights_sha256 is None:
        return [_action("c2pa.resized", RESAMPLED, agent=agent)]
    return [_action("c2pa.edited", EDITED, agent=agent)]


def _agent_of(origin: GeneratedOrigin) -> _Json:
    return {"name": f"{PROGRAM} {origin.family}"}


def _action(
    name: str,
    source_type: str | None = None,
    *,
    agent: _Json | None = None,
    refers_to: Sequence[str] = (),
) -> _Json:
    told: _Json = {"action": name}
    if source_type is not None:
        told["digitalSourceType"] = source_type
    if agent is not None:
        told["softwareAgent"] = agent
    if refers_to:
        told["parameters"] = {"ingredientIds": [label_of(sha256) for sha256 in refers_to]}
    return told
