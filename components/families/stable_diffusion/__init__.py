"""Stable Diffusion and its kin: published pipelines, adopted as they are."""
