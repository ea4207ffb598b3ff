"""The results store: image files and an index of them that never disagree.

from components.results_store import create

store = create(workspace)
result = store.keep(image, run="0001-dcgan-paintings")
newest = store.find(ResultQuery(family="wgan_gp", first_seed=100))
"""

import os
from pathlib import Path

from components.common.files import RESULTS
from components.results_store.doctor import report_lines
from components.results_store.index import Index
from components.results_store.store import LocalResultsStore
from interfaces.errors import RefusedError

VARIABLE = "ATELIER_RESULTS_INDEX"


def create(workspace: Path) -> LocalResultsStore:
    """The store in `workspace / "results"`; nothing is written before the first `keep`.

    The environment variable ATELIER_RESULTS_INDEX names a PostgreSQL database for its index,
    'postgresql://host/database', in place of the SQLite file beside the pictures. Raises
    `RefusedError` for any other URL.
    """
    return LocalResultsStore(workspace / RESULTS, _index_named(os.environ.get(VARIABLE, "")))


def _index_named(url: str) -> Index | None:
    if not url:
        return None
    if not url.startswith(("postgresql://", "postgres://")):
        raise RefusedError(f"{VARIABLE}={url}: not a database's URL, postgresql://host/database")
    from components.results_store.postgres import PostgresIndex

    return PostgresIndex(url)


__all__ = ["LocalResultsStore", "create", "report_lines"]
