"""R3GAN: a modern GAN without tricks."""
