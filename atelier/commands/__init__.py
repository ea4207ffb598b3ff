"""The command line: one file a group of verbs, flags made from the settings models.

A command's file is imported when the command is named: no other has to be waited for.
"""

import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App, Group

from atelier.commands.helping import Help, split_help

_HELP = (
    "Learn from a folder of artworks and make new art. `run` goes the whole way; the other "
    "commands are its stages and what goes with them. Every setting is a flag, a TOML field "
    "(--preset) and an environment variable: --generate.count is ATELIER_GENERATE_COUNT."
)

_COMMANDS = {
    "Start here": {
        "status": "atelier.commands.status:say_status",
        "run": "atelier.commands.running:run",
        "ui": "atelier.commands.page:open_page",
    },
    "Make pictures": {
        "generate": "atelier.commands.generating:generate",
        "interpolate": "atelier.commands.generating:interpolate",
    },
    "Your own pictures": {
        "enhance": "atelier.commands.own_files:enhance",
        "convert": "atelier.commands.own_files:convert",
        "rework": "atelier.commands.own_files:rework",
    },
    "Train a model": {
        "inspect": "atelier.commands.collections:inspect_collection",
        "preprocess": "atelier.commands.collections:preprocess",
        "train": "atelier.commands.training:train",
        "evaluate": "atelier.commands.models:evaluate",
        "adopt": "atelier.commands.models:adopt_model",
        "export": "atelier.commands.exporting:export",
    },
    "Manage and verify": {
        "replay": "atelier.handlers.replay:replay_files",
        "verify": "atelier.handlers.verify:verify_files",
    },
    "Experiments": {
        "compare": "atelier.commands.experiments:compare_presets",
        "search": "atelier.commands.experiments:search_settings",
        "benchmark": "atelier.commands.experiments:measure_costs",
    },
}
"""Place of each command in the code, by the heading that the help shows it under."""

_FAMILIES = {
    "results": (
        "Manage and verify",
        "List what was made, show how, open it.",
        {
            "list": "atelier.commands.results:list_results",
            "show": "atelier.commands.results:show_result",
            "open": "atelier.commands.results:open_result",
            "doctor": "atelier.commands.results:examine_results",
            "move": "atelier.commands.results:move_results",
        },
    ),
    "models": (
        "Manage and verify",
        "List the models, and choose the one to use.",
        {
            "list": "atelier.commands.models:list_models",
            "use": "atelier.commands.models:use_model",
            "verify": "atelier.commands.models:verify_model",
        },
    ),
    "credentials": (
        "Manage and verify",
        "The certificate that pictures are signed with: make, show, renew, export, import.",
        {
            "make": "atelier.commands.credentials:make_credentials",
            "show": "atelier.commands.credentials:show_credentials",
            "renew": "atelier.commands.credentials:renew_credentials",
            "export": "atelier.commands.credentials:export_credentials",
            "import": "atelier.commands.credentials:import_credentials",
            "timestamps": "atelier.commands.credentials:set_timestamps",
        },
    ),
    "study": (
        "Experiments",
        "Repeat a paper's experiments, as figures and as numbers.",
        {"sketch": "atelier.commands.experiments:study_sketch"},
    ),
}
"""Commands that have commands of their own: heading, help, and where each is."""

_ROOT = Path(__file__).parents[2]


def command_line(helping: Help) -> App:
    """The application, with every command by the place where it is."""
    app = App(
        name=Path(sys.argv[0]).name,
        help=_HELP,
        help_format="plaintext",
        help_formatter=helping,
        version_flags=[],
    )
    headings = {title: Group(title, sort_key=place) for place, title in enumerate(_COMMANDS)}
    for title, commands in _COMMANDS.items():
        _add(app, commands, headings[title])
    for name, (title, text, commands) in _FAMILIES.items():
        family = App(name=name, help=text, group=headings[title])
        _add(family, commands, None)
        app.command(family)
    app.command("atelier.commands.page:worker", name="worker", show=False)
    return app


def _add(app: App, commands: dict[str, str], heading: Group | None) -> None:
    for name, place in commands.items():
        app.command(place, name=name, help=_docstring_of(place), group=heading)


def _docstring_of(place: str) -> str:
    """A function's docstring, read from its file: importing it takes a hundred times as long."""
    module, _, function = place.partition(":")
    path = _ROOT.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return next(ast.get_docstring(node) or "" for node in found if node.name == function)


def carry_out(words: Sequence[str], way: Callable[..., object]) -> object:
    """Do what a person typed; without a word, say what to do next.

    `way` is the whole way through the pipeline, for the command that asks for it. Returns the
    command's exit code, or None.
    """
    command, asked = split_help(words)
    helping = Help(asked or ())
    app = command_line(helping)
    if asked is not None:
        helping.show(app, command)
        return None
    function, given, injected = app.parse_args(
        list(words) or ["status"], exit_on_error=False, print_error=False
    )
    return function(*given.args, **given.kwargs, **dict.fromkeys(injected, way))
