"""Sketch-guided diffusion of paper 004, and a better way to follow a drawing."""
