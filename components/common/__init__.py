"""What every component stands on: whole files, images, devices, checkpoints, downloads."""
