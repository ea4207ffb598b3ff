"""Companions of a model's folder: a card, a software bill, a manifest of digests, a signature."""

from components.common.models.folder import (
    Manifest,
    ModelSeal,
    check_model,
    complete_model,
)

__all__ = ["Manifest", "ModelSeal", "check_model", "complete_model"]
