"""A person's own files, worked on one by one: enlarged, converted, or reworked by a model.

    from components.errands import Errand, Rework, Task, own_file

The ports are handed in, so that a component that is replaced does this work too.
"""

from components.errands.errand import Errand, Task, own_file
from components.errands.rework import Rework

__all__ = ["Errand", "Rework", "Task", "own_file"]
