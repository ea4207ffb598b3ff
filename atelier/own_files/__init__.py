"""A person's own files, worked on one by one: enlarged, converted, or reworked by a model.

    from atelier.own_files import Errand, Requests, Rework, Treatment, own_file

The ports are handed in, so that a component that is replaced does this work too.
"""

from atelier.own_files.errand import Errand, Treatment, own_file
from atelier.own_files.requests import Requests
from atelier.own_files.rework import Rework

__all__ = ["Errand", "Requests", "Rework", "Treatment", "own_file"]
