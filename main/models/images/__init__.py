"""Networks that read the diffusion coefficient from image sequences."""
