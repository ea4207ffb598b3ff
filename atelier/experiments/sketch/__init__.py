"""The study of sketch-guided diffusion (paper 004): training, figures, numbers."""
