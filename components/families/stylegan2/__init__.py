"""StyleGAN2 with adaptive augmentation, and the reader of its published networks."""
