"""The eight components, each behind its door (`__init__.py`), and what they stand on."""
