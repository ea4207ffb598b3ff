"""CycleGAN: turns pictures of one style into another, learnt without pairs."""
