"""Simulated movies of many molecules, for the tests of this folder."""

import torch

from simulations.microscope import Molecules, add_camera_noise, count_substeps, render, simulate_paths

PSF_PX = 0.85


def simulate_movie(
    n_frames=200, d=0.05, n=7, photons=300.0, background=5.0, gain=2.0, offset=100.0, read_noise=1.5, **options
):
    """Simulate molecules that are reflected at the border of a field of 64 x 64 pixels.

    Parameters
    ----------
    n_frames, n : int
    d : float or tensor of shape (n,)
        px^2/frame.
    options
        camera, seed, drift of the background over the field (`uneven`, relative), psf (px).

    Returns
    -------
    frames : torch.Tensor, shape (F, 64, 64)
        Whole counts.
    position : torch.Tensor, shape (n, F, 2)
        Mean position in each frame, px from the middle of the first pixel.
    """
    size, psf = 64, options.get("psf", PSF_PX)
    g, o = torch.Generator().manual_seed(options.get("seed", 1)), torch.ones(n)
    light = torch.full((n, n_frames), photons)
    camera = options.get("camera", "scmos")
    known = Molecules(
        o * d, light, o * background, o * psf / 10, o, o * gain, o * offset, o * read_noise, camera=camera
    )
    path = simulate_paths(known, int(count_substeps(known).max()), g)
    start = size * torch.rand(n, 2, generator=g)
    place = torch.remainder(path + start[:, None, None], 2 * size)
    place = torch.where(place > size, 2 * size - place, place)
    mean = sum(render(place[i : i + 1] - size / 2, known.take([i]), size)[0] for i in range(n))
    tilt = 1 + options.get("uneven", 0.0) * torch.linspace(-1, 1, size)
    frames = add_camera_noise((mean + background * tilt)[None], known.take([0]), g)[0]
    return frames.round(), place.mean(2) - 0.5
