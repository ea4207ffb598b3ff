"""Jobs: a queue that survives restarts, the worker that carries it out, and what orders may name.

queue = create(workspace, ORDERS)
job = queue.submit(GenerateOrder(kind="generate", model=models[0].id))

with WorkerKeeper(queue, [sys.executable, "pipeline.py", "worker"], workspace / LOGS["quick"]):
    ...  # the server; a worker of its own process takes the jobs, one by one

run_worker(queue, execute)  # in that process; execute(job, control) carries one out
"""

from pathlib import Path

from pydantic import TypeAdapter

from atelier.jobs.catalogue import WorkspaceCatalogue
from atelier.jobs.keeper import WorkerKeeper
from atelier.jobs.queue import SQLiteJobQueue
from atelier.jobs.uploads import LocalUploads
from atelier.jobs.worker import LOGS, AnnouncedStore, JobInterface, run_worker
from components.common.files import JOBS
from interfaces.orders import Order


def create(workspace: Path, orders: TypeAdapter[Order], patience: float = 30.0) -> SQLiteJobQueue:
    """The queue in `workspace / "jobs.sqlite"`, made where it is not there yet.

    A change waits `patience` seconds for those of others; a server waits less than a worker.
    """
    return SQLiteJobQueue(workspace / JOBS, orders, patience)


__all__ = [
    "LOGS",
    "AnnouncedStore",
    "JobInterface",
    "LocalUploads",
    "SQLiteJobQueue",
    "WorkerKeeper",
    "WorkspaceCatalogue",
    "create",
    "run_worker",
]
