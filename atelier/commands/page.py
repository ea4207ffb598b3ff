"""The page and its worker on the command line."""

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import settings
from atelier.commands.frame import Common, Making
from atelier.commands.helping import OPTIONS
from atelier.workspace import Workspace
from components.enhancement import absent_names
from components.enhancement import names as enhancer_names
from interfaces.errors import RefusedError
from interfaces.iodt import ResultsGallery
from interfaces.jobs import JobQueue
from interfaces.orders import Lane

if TYPE_CHECKING:
    from atelier.desk import Desk
    from atelier.server import Backend, Safety

_PATIENCE = 2.0
"""Seconds that a request which changes the queue waits for other processes, before it is a 503."""

_PROGRAM = Path(__file__).parents[2] / "pipeline.py"
"""Beside this package, in a checkout and where it is installed."""


def open_page(
    *,
    host: Annotated[
        str, Parameter(group=OPTIONS, metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(group=OPTIONS, help="Port; 0 takes a free one.")] = 7860,
    token: Annotated[
        str | None,
        Parameter(
            group=OPTIONS,
            metavar="TEXT",
            env_var="ATELIER_TOKEN",
            show_env_var=True,
            help="Password of the page and token of the API; needed at any address but loopback.",
        ),
    ] = None,
    name: Annotated[
        tuple[str, ...],
        Parameter(
            group=OPTIONS,
            negative=(),
            metavar="NAME",
            show_default=False,
            help="A host name under which the page is reached.",
        ),
    ] = (),
    data: Annotated[
        tuple[Path, ...],
        Parameter(
            group=OPTIONS,
            negative=(),
            show_default=False,
            help="A folder or archive offered as a collection on the page.",
        ),
    ] = (),
    common: Making = Making(),
) -> None:
    """Open the page: train, generate, draw, watch, find. Programs use its /api."""
    from atelier.server import Safety

    _serve(common, Safety(host, token, name), data, host, port)


def _serve(common: Common, safety: "Safety", data: tuple[Path, ...], host: str, port: int) -> None:
    """Answer the page and the API, with a worker beside them, until it is interrupted."""
    from atelier.desk import Desk
    from atelier.handlers import ORDERS
    from atelier.jobs import LOGS, WorkerKeeper
    from atelier.jobs import create as create_queue
    from atelier.server import create_app, serve
    from components.ui import mount_page

    place, replaced = common.place, common.components
    desk, queue = Desk(place, replaced, data), create_queue(place.root, ORDERS, _PATIENCE)
    store = desk.parts.results_store
    if not isinstance(store, ResultsGallery):
        raise RefusedError("component results_store: has no pages, which the page needs")
    quick = WorkerKeeper(
        queue, _worker_command(place, replaced, "quick"), place.root / LOGS["quick"]
    )
    long = WorkerKeeper(queue, _worker_command(place, replaced, "long"), place.root / LOGS["long"])
    backend = _backend(desk, queue, store, lambda: quick.trouble or long.trouble)
    backend = replace(backend, may_name_paths=safety.is_for_one)
    store.purge(older_than=timedelta(days=7))
    desk.places.catalogue.purge_models(older_than=timedelta(days=7))

    # What a large store's records say is read beside everything else, before it is searched.
    threading.Thread(target=backend.shelf.follow, name="texts", daemon=True).start()

    def ready(address: str) -> None:
        desk.parts.ui.say(f"page:          {address}")

    application = create_app(backend, safety)
    mount_page(application)
    with quick, long:
        serve(application, host, port, ready)


def _backend(
    desk: "Desk", queue: JobQueue, store: ResultsGallery, trouble: Callable[[], str | None]
) -> "Backend":
    """All that the API and the page read and change."""
    from atelier.gallery import Shelf
    from atelier.handlers.train import TrainHandler
    from atelier.server import Backend, Thumbnails

    place = desk.places.workspace
    return Backend(
        workspace=place.root,
        queue=queue,
        store=store,
        shelf=Shelf(place.shelf, store),
        catalogue=desk.places.catalogue,
        uploads=desk.places.uploads,
        thumbnails=Thumbnails(place.thumbnails),
        check=desk.check,
        settings_of_training=partial(TrainHandler().settings, places=desk.places),
        convert=desk.convert,
        enhancers=tuple(enhancer_names()),
        absent_enhancers=absent_names,
        presets={preset: settings.load_preset(preset) for preset in settings.preset_names()},
        worker_trouble=trouble,
    )


def worker(*, lane: Lane = "quick", common: Making = Making()) -> None:
    """Carry out one lane's jobs of a workspace, until standard input is closed."""
    from atelier.desk import Desk
    from atelier.handlers import ORDERS
    from atelier.jobs import create as create_queue
    from atelier.jobs import run_worker

    desk = Desk(common.place, common.components)
    if lane == "quick":
        import torch  # which takes a while, as the person still chooses

        del torch

    run_worker(create_queue(common.place.root, ORDERS), desk, sys.stdin.buffer, lane)


def _worker_command(place: Workspace, replaced: Mapping[str, str], lane: Lane) -> list[str]:
    command = [sys.executable, str(_PROGRAM), "worker", "--lane", lane]
    command += ["--workspace", str(place.root)]
    return command + [
        word for name, factory in replaced.items() for word in ("--component", f"{name}={factory}")
    ]
