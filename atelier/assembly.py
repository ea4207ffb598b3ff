"""Assembly: the eight components, made by name, some replaced, each behind a guard."""

import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from atelier.guard import (
    Component,
    GuardedConverter,
    GuardedEnhancer,
    GuardedGenerator,
    GuardedPreprocessor,
    GuardedStore,
    GuardedTrainer,
)
from atelier.guard_results import GuardedInterface, GuardedResultsStore
from interfaces.capabilities import capabilities_of
from interfaces.components import PORTS, Components
from interfaces.errors import AtelierError, RefusedError


def assemble(workspace: Path, replacements: Mapping[str, str] | None = None) -> Components:
    """Make the eight components, some replaced.

    `replacements` maps a component's name to 'package:factory'; the factory takes the workspace's
    folder and returns an object with the methods of the port. Raises `AtelierError` where a
    replacement cannot be found or does not fit. What they return is checked: see `atelier.guard`.
    """
    chosen = replacements or {}
    check_names(chosen)
    places = {name: chosen.get(name, f"components.{name}:create") for name in PORTS}
    made = {name: _make(name, place, workspace) for name, place in places.items()}
    for name, port in PORTS.items():
        _check_port(name, places[name], made[name], port)
    parts = Components(**made)  # pyright: ignore[reportArgumentType]  # checked one by one above
    return _guarded(parts, places, ours=frozenset(PORTS) - chosen.keys())


def check_names(replacements: Iterable[str]) -> None:
    """Raise `AtelierError` for a name that is none of the eight components'."""
    for name in replacements:
        if name not in PORTS:
            raise RefusedError(f"component {name!r}: unknown; there are {', '.join(PORTS)}")


def replacements_of(pairs: Iterable[str]) -> dict[str, str]:
    """('enhancement=mine:make',) => {'enhancement': 'mine:make'}. Raises `AtelierError`."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, place = pair.partition("=")
        if not (name and equals and place):
            raise RefusedError(f"--component {pair}: write it as name=package:factory")
        parsed[name] = place
    return parsed


def _make(name: str, place: str, workspace: Path) -> object:
    module_name, _, factory_name = place.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing here hides an installed package
    try:
        return getattr(import_module(module_name), factory_name)(workspace)
    except AtelierError:
        raise
    except Exception as error:  # a stranger's code may fail in any way
        raise RefusedError(
            f"component {name}: {place!r} cannot be made ({type(error).__name__}: {error}); "
            "write it as package:factory, where the factory takes the workspace's folder"
        ) from error


def _check_port(name: str, place: str, component: object, port: type) -> None:
    """Every method of the port must be there and take what the port hands it."""
    methods = [m for m, f in vars(port).items() if inspect.isfunction(f) and m[0] != "_"]
    for method in methods:
        found = getattr(component, method, None)
        if not callable(found):
            raise RefusedError(
                f"component {name}: {place} has no method {method}(); the port "
                f"{port.__module__}.{port.__name__} asks for {', '.join(methods)}"
            )
        wanted = list(inspect.signature(getattr(port, method)).parameters)[1:]
        try:
            inspect.signature(found).bind(*wanted)
        except TypeError as error:
            raise RefusedError(
                f"component {name}: {place}.{method} does not take ({', '.join(wanted)}): {error}"
            ) from error


def _guarded(parts: Components, places: dict[str, str], ours: frozenset[str]) -> Components:
    """The components behind their guards; `places` says where each comes from."""

    def component(name: str) -> Component:
        declared = capabilities_of(getattr(parts, name), f"component {name} ({places[name]})")
        return Component(name, places[name], name in ours, declared)

    return Components(
        training_store=GuardedStore(parts.training_store, component("training_store")),
        preprocessing=GuardedPreprocessor(parts.preprocessing, component("preprocessing")),
        training=GuardedTrainer(parts.training, component("training")),
        generation=GuardedGenerator(parts.generation, component("generation")),
        enhancement=GuardedEnhancer(parts.enhancement, component("enhancement")),
        conversion=GuardedConverter(parts.conversion, component("conversion")),
        results_store=parts.results_store
        if "results_store" in ours
        else GuardedResultsStore(parts.results_store, component("results_store")),
        ui=parts.ui if "ui" in ours else GuardedInterface(parts.ui, component("ui")),
    )
