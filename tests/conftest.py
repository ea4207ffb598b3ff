"""Settings for every test."""

import os

# Before torch; see docs/architecture.md. Networks of a test are so small that a second thread costs
# twice the processor's time, and as many tests at a time as there are processors fill them anyway.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis

from atelier.contracts.isolation import own_credentials, own_environment

__all__ = ["own_credentials", "own_environment"]

pytest_plugins = ["atelier.contracts.plugin"]

# A busy machine makes any one example slow; how long a test may take is not what it tests.
# What decides whether a change lands draws the same examples each time; elsewhere they are new.
hypothesis.settings.register_profile("atelier", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("atelier")
