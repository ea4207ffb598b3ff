"""The component diagram of paper 002 (Fig. 2): eight components, each behind its port."""

from dataclasses import dataclass

from interfaces.iedt import Enhancer
from interfaces.igdt import ImageGenerator
from interfaces.igme import Trainer
from interfaces.iodt import Converter, ResultsStore
from interfaces.ipdt import Preprocessor
from interfaces.itdt import TrainingStore
from interfaces.ui import UserInterface


@dataclass(frozen=True)
class Components:
    """The eight components, each behind its port."""

    training_store: TrainingStore
    preprocessing: Preprocessor
    training: Trainer
    generation: ImageGenerator
    enhancement: Enhancer
    conversion: Converter
    results_store: ResultsStore
    ui: UserInterface


PORTS: dict[str, type] = {
    "training_store": TrainingStore,
    "preprocessing": Preprocessor,
    "training": Trainer,
    "generation": ImageGenerator,
    "enhancement": Enhancer,
    "conversion": Converter,
    "results_store": ResultsStore,
    "ui": UserInterface,
}
"""The port of each component, by the component's name."""
