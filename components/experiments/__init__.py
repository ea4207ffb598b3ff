"""Experiments: several trainings one after another, and what they teach.

    from components.experiments import compare, search

    rows = compare(trainer, prepared, [("dcgan", settings), …], folder, silent)
    outcome = search(trainer, prepared, base, SearchSettings(), folder, silent)

A shared room: the trainer is handed in, by its port. Torch, Optuna and matplotlib are imported by
the first call, not by this door.
"""

from components.experiments.comparison import ComparisonRow, compare
from components.experiments.evaluation import evaluate
from components.experiments.ledger import Makers, benchmark
from components.experiments.search import SearchOutcome, search
from components.experiments.sketch_study import claims_section, study_sketches, train_methods

__all__ = [
    "ComparisonRow",
    "Makers",
    "SearchOutcome",
    "benchmark",
    "claims_section",
    "compare",
    "evaluate",
    "search",
    "study_sketches",
    "train_methods",
]
