"""The pytest plugin: the options of the contract tests.

pytest loads it wherever Atelier is installed, so it imports nothing else of Atelier.
"""

import pytest

TRAINING = (
    '{"family": "dcgan", "options": {"batch_size": 4, "generator_channels": 8, '
    '"discriminator_channels": 8}}'
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the contract tests."""
    group = parser.getgroup("atelier", "contract tests of Atelier's components")
    group.addoption(
        "--component",
        action="append",
        default=[],
        metavar="NAME=PACKAGE:FACTORY",
        help="the replacement to test in the place of our component; may be given several times",
    )
    group.addoption(
        "--training",
        default=TRAINING,
        metavar="JSON",
        help="settings of the models that are trained for the tests: a family of the replacement, "
        "in a size of seconds",
    )
    group.addoption(
        "--component-seconds",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="time that a component has for each test before the test fails; 120 unless given",
    )
