"""The verbs as functions, for Python and notebooks; `from atelier import …` is their door."""
