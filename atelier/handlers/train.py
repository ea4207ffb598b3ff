"""Train: a model learnt from a collection."""

from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from atelier.choices import choose
from atelier.handlers.handler import Handler, Places, Task
from atelier.running import train_model
from components.families import FAMILIES
from interfaces.errors import RefusedError
from interfaces.orders import CollectionId, Lane, ModelId, Order
from settings import Layer, load_preset, merge, preset_names

Section = Literal["collect", "preprocess", "train"]
"""The tables of settings that a training takes."""

_PATHS = {("collect", "data"), ("collect", "styles_csv"), ("train", "start_from")}


class TrainOrder(Order):
    """Train a model on a collection."""

    lane: ClassVar[Lane] = "long"

    kind: Literal["train"]
    collection: CollectionId = Field(description="Which collection, by its id in the catalogue.")
    preset: str | None = Field(
        default=None, max_length=100, description="A preset that comes with the project, by name."
    )
    start_from: ModelId | Literal["none"] | None = Field(
        default=None,
        description="A model to start from, 'none' for first weights; else as the preset has it.",
    )
    settings: dict[Section, dict[str, Any]] = Field(
        default_factory=dict, description="Over the preset: tables collect, preprocess and train."
    )

    @model_validator(mode="after")
    def _holds_no_path(self) -> Self:
        for section, table in self.settings.items():
            if named := sorted(name for name in table if (section, name) in _PATHS):
                raise ValueError(
                    f"settings.{section}.{named[0]} is a path; name `collection` and `start_from` "
                    "by their ids"
                )
        return self


class TrainHandler(Handler[TrainOrder]):
    """Carries a `TrainOrder` out."""

    order = TrainOrder

    def layer(self, order: TrainOrder, places: Places) -> Layer:
        """The preset, under the order's settings, under what it names. Raises `AtelierError`."""
        if order.preset is not None and order.preset not in preset_names():
            there = ", ".join(preset_names())
            raise RefusedError(f"preset {order.preset!r}: unknown; there are {there}")
        given: Layer = {"collect": {"data": places.catalogue.collection_data(order.collection)}}
        if order.start_from == "none":
            given["train"] = {"start_from": "none"}
        elif order.start_from is not None:
            start = places.catalogue.model(order.start_from).directory
            given["train"] = {"start_from": str(start)}
        preset = load_preset(order.preset) if order.preset else {}
        tables: Layer = {**order.settings}
        return merge(preset, tables, given)

    def settings(self, order: TrainOrder, places: Places) -> dict[str, dict[str, Any]]:
        """Everything that the order's training would be set to, but for paths of this machine.

        None stands for options that it will choose by its pictures. Raises `AtelierError` for an
        order that could not be carried out.
        """
        chosen = choose(self.layer(order, places))
        tables = chosen.model_dump(mode="json", include=set(get_args(Section)))
        if chosen.train.start_from is not None:
            left_open = FAMILIES[chosen.train.family].config.left_open(chosen.train.options)
            tables["train"]["options"] |= dict.fromkeys(left_open)
        for section, name in _PATHS:
            del tables[section][name]
        return tables

    def carry_out(self, task: Task[TrainOrder]) -> None:
        """Train, or go on with it, and conclude with the model's id."""
        parts, control = task.parts, task.control
        _, model = train_model(parts, task.chosen, task.begin, control.is_to_conclude)
        control.conclude({"model": model.digest[:16]})
