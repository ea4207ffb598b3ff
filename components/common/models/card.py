"""A model's card: what it is, what it learnt from, how good it is; in the model hubs' form.

Markdown under a front matter of YAML, as the Hugging Face hub reads it (model card metadata).
"""

from collections.abc import Iterator

from interfaces.igme import IGME
from interfaces.itdt import Rights


def card_of(model: IGME) -> str:
    """The card as Markdown."""
    import yaml

    front = yaml.safe_dump(_front_matter(model), sort_keys=False, allow_unicode=True)
    return "---\n" + front + "---\n\n" + "\n".join(_lines(model)) + "\n"


def _front_matter(model: IGME) -> dict[str, object]:
    matter: dict[str, object] = {
        "library_name": "atelier",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["image-generation", "art", model.family],
    }
    if model.measurements:
        matter["model-index"] = [_results(model)]
    return matter


def _results(model: IGME) -> dict[str, object]:
    metrics = [
        {"type": one.metric, "name": f"{one.metric} ({one.features} features)", "value": one.value}
        for one in model.measurements
        if one.style is None
    ]
    dataset = {"name": model.dataset_name, "type": "image-folder"}
    task = {"type": "unconditional-image-generation"}
    return {
        "name": f"{model.family}-{model.dataset_name}",
        "results": [{"task": task, "dataset": dataset, "metrics": metrics}],
    }


def _lines(model: IGME) -> Iterator[str]:
    yield f"# {model.family}, learnt from {model.dataset_name}"
    yield ""
    yield f"Makes pictures of {model.resolution}×{model.resolution} pixels."
    yield f"Digest: `{model.digest}`; every picture that it made names it."
    yield ""
    yield "## What it learnt from"
    yield ""
    yield from _learnt_from(model)
    yield ""
    yield "## Rights of the pictures it learnt from"
    yield ""
    yield _rights(model.rights, is_known=model.dataset_digest is not None)
    yield ""
    yield "## How good its pictures are"
    yield ""
    yield from _measured(model)
    yield ""
    yield "## What it may be used for"
    yield ""
    yield "Its pictures are generated: say so wherever they are shown. What it learnt from limits"
    yield "what it can show: styles with few pictures come out worse, and what is in none does not"
    yield "come out at all."


def _learnt_from(model: IGME) -> Iterator[str]:
    if model.dataset_digest is None:
        yield f"It was trained elsewhere, on what its maker calls {model.dataset_name}."
        return
    yield f"The collection {model.dataset_name} (prepared set `{model.dataset_digest}`),"
    yield f"{model.images_seen:,} images shown, repeats counted."
    if model.style_counts:
        yield ""
        yield "| style | pictures |"
        yield "|---|---|"
        for style, count in zip(model.styles, model.style_counts, strict=True):
            yield f"| {_cell(style)} | {count:,} |"


def _rights(rights: Rights | None, *, is_known: bool) -> str:
    if not is_known:
        return "Not known here: it was trained elsewhere."
    if rights is None:
        return "No picture of the collection said in its file that it may not be used for training."
    if rights.decision == "left out":
        return (
            f"{rights.num_reserved:,} pictures of the collection say in their files that they may "
            "not be used for training. They were left out."
        )
    return (
        f"{rights.num_reserved:,} pictures of the collection say in their files that they may not "
        "be used for training. **They were used all the same, because whoever trained it said so.**"
    )


def _measured(model: IGME) -> Iterator[str]:
    figures = [one for one in model.measurements if one.style is None]
    if not figures:
        yield "It was not measured."
        return
    yield "| measure | value | 95 % interval | features |"
    yield "|---|---|---|---|"
    for one in figures:
        interval = f"{one.low:.4g} to {one.high:.4g}"
        yield f"| {one.metric} | {one.value:.4g} | {interval} | {one.features} |"


def _cell(text: str) -> str:
    """A stranger's words inside a table of Markdown."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
