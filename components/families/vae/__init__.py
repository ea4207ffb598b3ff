"""VAE: an encoder and a decoder, and a latent between them that can be drawn."""
