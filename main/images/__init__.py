"""The diffusion coefficient of a molecule from images in which its motion blurs it."""
