"""Experiments: several trainings one after another, and what they teach.

    from atelier.experiments import compare
    from atelier.experiments.search.study import search

    rows = compare(trainer, prepared, [("dcgan", settings), …], folder, silent)
    outcome = search(trainer, prepared, base, SearchSettings(), folder, silent)

The trainer is handed in, by its port. Torch, Optuna and matplotlib are imported by
the first call, not by this door.
"""

from atelier.experiments.comparison import ComparisonRow, compare
from atelier.experiments.evaluation import evaluate, evaluate_pictures
from atelier.experiments.ledger.measuring import Makers, benchmark
from atelier.experiments.sketch.study import claims_section, study_sketches, train_methods

__all__ = [
    "ComparisonRow",
    "Makers",
    "benchmark",
    "claims_section",
    "compare",
    "evaluate",
    "evaluate_pictures",
    "study_sketches",
    "train_methods",
]
