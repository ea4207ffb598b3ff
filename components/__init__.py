"""The eight components. Each folder's `__init__.py` is its door; nobody reaches behind it."""
