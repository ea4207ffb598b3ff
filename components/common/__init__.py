"""Basis of every component: whole files, images, devices, checkpoints, downloads."""
