"""The results store: image files and an index of them that never disagree.

from components.results_store import create

store = create(workspace)
result = store.keep(image, run="0001-dcgan-paintings")
newest = store.find(ResultQuery(family="wgan_gp", first_seed=100))
"""

from pathlib import Path

from components.results_store.doctor import report_lines
from components.results_store.store import LocalResultsStore


def create(workspace: Path) -> LocalResultsStore:
    """The store in `workspace / "results"`; nothing is written before the first `keep`."""
    return LocalResultsStore(workspace / "results")


__all__ = ["LocalResultsStore", "create", "report_lines"]
