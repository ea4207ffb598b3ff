"""Settings for every test."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch; see docs/architecture.md

import hypothesis

from atelier.contracts.isolation import own_credentials, own_environment

__all__ = ["own_credentials", "own_environment"]

pytest_plugins = ["atelier.contracts.plugin"]

# A busy machine makes any one example slow; how long a test may take is not what it tests.
hypothesis.settings.register_profile("atelier", deadline=None)
hypothesis.settings.load_profile("atelier")
