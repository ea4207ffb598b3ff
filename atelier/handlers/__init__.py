"""The kinds of orders: one file each, with the order, its check and how it is carried out.

To add one, write its file and name it here: the queue stores it, the API takes it.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from atelier.handlers.enhance import EnhanceHandler, EnhanceOrder
from atelier.handlers.evaluate import EvaluateHandler, EvaluateOrder
from atelier.handlers.generate import GenerateHandler, GenerateOrder
from atelier.handlers.handler import Handler, Places, Task
from atelier.handlers.inspect import InspectHandler, InspectOrder
from atelier.handlers.interpolate import InterpolateHandler, InterpolateOrder
from atelier.handlers.replay import ReplayHandler, ReplayOrder
from atelier.handlers.train import TrainHandler, TrainOrder
from atelier.handlers.verify import VerifyHandler, VerifyOrder
from interfaces.orders import Order

HANDLERS: dict[type[Order], Handler[Any]] = {
    handler.order: handler
    for handler in (
        GenerateHandler(),
        InterpolateHandler(),
        EnhanceHandler(),
        InspectHandler(),
        TrainHandler(),
        ReplayHandler(),
        VerifyHandler(),
        EvaluateHandler(),
    )
}

AnyOrder = Annotated[
    GenerateOrder
    | InterpolateOrder
    | EnhanceOrder
    | InspectOrder
    | TrainOrder
    | ReplayOrder
    | VerifyOrder
    | EvaluateOrder,
    Field(discriminator="kind"),
]
"""An order as it comes from outside: `kind` says which."""

ORDERS: TypeAdapter[Order] = TypeAdapter(AnyOrder)
"""Reads an order of any kind."""

__all__ = [
    "HANDLERS",
    "ORDERS",
    "AnyOrder",
    "EnhanceOrder",
    "EvaluateOrder",
    "GenerateOrder",
    "Handler",
    "InspectOrder",
    "InterpolateOrder",
    "Places",
    "ReplayOrder",
    "Task",
    "TrainOrder",
    "VerifyOrder",
]
