"""A model's card, as model hubs show it: made from the model's message (IGME) alone."""

import json

from interfaces.igme import IGME
from interfaces.measurement import Measurement


def write_card(model: IGME, pipeline_tag: str, usage: str) -> str:
    """Write a model's card in Markdown, with a hub's header in YAML.

    `pipeline_tag` is the hub's word for what the model does, `usage` a section on how to load it.
    """
    header = {
        "library_name": "atelier",
        "pipeline_tag": pipeline_tag,
        "tags": ["art", model.family],
        "datasets_digest": model.dataset_digest,
    }
    # JSON is YAML, whatever a collection's name holds.
    lines = [f"{key}: {json.dumps(value)}" for key, value in header.items() if value is not None]
    return "\n".join(
        [
            "---",
            *lines,
            "---",
            "",
            f"# {model.family}, learnt from {_inline(model.dataset_name)}",
            "",
            *_facts(model),
            "",
            usage,
            "",
            "## How good",
            "",
            *_figures(model.measurements),
            "",
            "## Limits",
            "",
            "It makes pictures like those it learnt from, and knows no others: their subjects, "
            "periods and peoples are its world. What may be done with its pictures depends on the "
            "rights in that collection too.",
            "",
        ]
    )


def _facts(model: IGME) -> list[str]:
    counts = model.style_counts or (None,) * len(model.styles)
    styles = ", ".join(
        _inline(style) + (f" ({count})" if count is not None else "")
        for style, count in zip(model.styles, counts, strict=True)
    )
    rows = {
        "pictures": f"{model.resolution}×{model.resolution}, RGB",
        "styles": styles,
        "collection": model.dataset_digest or "learnt elsewhere; its digest is unknown",
        "kept from it": f"{model.held_out_fraction:.0%} of the collection",
        "images seen": f"{model.images_seen}, repeats counted",
        "weights (SHA-256)": f"`{model.weights_sha256}`",
        "model (digest)": f"`{model.digest}`",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _figures(measurements: tuple[Measurement, ...]) -> list[str]:
    if not measurements:
        return ["Not measured."]
    caution = measurements[0].caution
    return [
        *(f"- {measured.line()}" for measured in measurements),
        *(["", caution] if caution else []),
    ]


def _inline(text: str) -> str:
    """A person's name for something, on one line and as no table's border."""
    return " ".join(text.split()).replace("|", "\\|")
