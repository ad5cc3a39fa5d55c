"""An endless stream of simulated image sequences, made on the device that trains on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from simulations.microscope import CAMERAS, FWHM_OF_SIGMA, Molecules, simulate_images
from simulations.parameters import Range
from simulations.resumable import ResumableBatches

PIXEL_UM, FRAME_INTERVAL_S = 0.1, 0.01  # so that 1 um^2/s is 1 px^2/frame
PSF_SIGMA_UM = 0.2 / FWHM_OF_SIGMA  # a full width at half maximum of 200 nm
N_FRAMES = 16
WINDOW_PX = 21  # side of a window around a molecule


@dataclass(frozen=True)
class ImagePrior:
    """Ranges from which sequences are drawn: um^2/s, photons, um, shares, counts, photoelectrons.

    Parameters
    ----------
    d, photons, background, psf_sigma, read_noise, gain, offset : Range
        See `simulations.microscope.Molecules`; photons is the mean of a frame.
    exposure : Range
        Share of the frame interval, of those sequences that are not exposed all the time (`full_exposure`).
    full_exposure : float
        Share of sequences with an exposure of 1.
    cameras : tuple of float
        Shares of `CAMERAS`.
    blinking : float
        Share of sequences whose photons vary from frame to frame.
    blink_cv : Range
        Their coefficient of variation (gamma distribution).
    dark : Range
        Probability that a blinking molecule is dark in a frame.
    bleaching : float
        Share of sequences that end dark, from a random frame of their second half on.
    n_frames : tuple of int
        Fewest and most frames.
    sixteen : float
        Share of sequences of 16 frames.
    """

    d: Range = Range(5e-4, 20.0, log=True)
    photons: Range = Range(40.0, 2500.0, log=True)
    background: Range = Range(0.3, 25.0, log=True)
    psf_sigma: Range = Range(0.07, 0.17, log=True)
    read_noise: Range = Range(0.5, 3.0)
    gain: Range = Range(0.5, 60.0, log=True)
    offset: Range = Range(50.0, 500.0)
    exposure: Range = Range(0.1, 1.0)
    full_exposure: float = 0.7
    cameras: tuple[float, ...] = (0.1, 0.6, 0.3)
    blinking: float = 0.3
    blink_cv: Range = Range(0.2, 0.7)
    dark: Range = Range(0.0, 0.2)
    bleaching: float = 0.05
    n_frames: tuple[int, int] = (4, 64)
    sixteen: float = 0.6


def draw_molecules(prior: ImagePrior, n: int, rng: np.random.Generator, device="cpu", n_frames=None, camera=None):
    """Draw the parameters of n sequences that share a number of frames and a kind of camera.

    Parameters
    ----------
    prior : ImagePrior
    n : int
    rng : numpy.random.Generator
    device : str or torch.device
    n_frames : int, optional
        By default drawn.
    camera : str, optional
        By default drawn.

    Returns
    -------
    Molecules
    """
    if n_frames is None:
        n_frames = N_FRAMES
        if rng.random() >= prior.sixteen:
            low, high = prior.n_frames
            n_frames = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
    camera = camera or str(rng.choice(CAMERAS, p=prior.cameras))
    names = ("d", "background", "psf_sigma", "read_noise", "gain", "offset")
    drawn = {name: getattr(prior, name).sample(rng, n) for name in names}
    drawn["exposure"] = np.where(rng.random(n) < prior.full_exposure, 1.0, prior.exposure.sample(rng, n))
    drawn["photons"] = prior.photons.sample(rng, n)[:, None] * draw_brightness(prior, n, n_frames, rng)
    tensors = {name: torch.as_tensor(v, dtype=torch.float32, device=device) for name, v in drawn.items()}
    return Molecules(**tensors, pixel_size=PIXEL_UM, frame_interval=FRAME_INTERVAL_S, camera=camera)


def draw_brightness(prior: ImagePrior, n: int, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the brightness of each frame relative to the mean, (n, n_frames): blinking and bleaching."""
    shape = 1 / prior.blink_cv.sample(rng, (n, 1)) ** 2
    lit = rng.random((n, n_frames)) >= prior.dark.sample(rng, (n, 1))
    blinks = rng.random((n, 1)) < prior.blinking
    brightness = np.where(blinks, rng.gamma(shape, 1 / shape, (n, n_frames)) * lit, 1.0)
    end = rng.integers(n_frames // 2, n_frames, (n, 1)) + 1
    bleached = (rng.random((n, 1)) < prior.bleaching) & (np.arange(n_frames) >= end)
    return np.where(bleached, 0.0, brightness)


class ImageStream(ResumableBatches):
    """Batches of newly simulated sequences of windows; the sequences of a batch have the same number of frames.

    Chunk i depends on the seed and i alone, so a stream resumes exactly where it stopped.

    Parameters
    ----------
    prior : ImagePrior, optional
    batch : int
        Sequences per batch.
    device : str or torch.device
    seed : int
    chunk : int
        Batches simulated at once.
    size : int
        Side of the images, px.
    windows : bool
        Windows around the molecule; otherwise full frames.
    exact : bool
        See `simulations.microscope.add_camera_noise`.
    subpositions : bool
        See `simulations.microscope.simulate_images`.
    """

    def __init__(
        self,
        prior=None,
        batch=64,
        device="cpu",
        seed=0,
        chunk=16,
        size=WINDOW_PX,
        windows=True,
        exact=False,
        subpositions=False,
    ):
        self.prior, self.batch, self.device = prior or ImagePrior(), batch, torch.device(device)
        self.seed, self.chunk, self.size, self.windows, self.exact = seed, chunk, size, windows, exact
        self.subpositions = subpositions  # not among the settings: it changes no image
        self.settings = {
            "prior": asdict(self.prior),
            "batch": batch,
            "chunk": chunk,
            "seed": seed,
            "size": size,
            "windows": windows,
            "exact": exact,
        }

    def _batches(self, chunk: int) -> list:
        """Functions that make the batches of one chunk."""
        return [lambda i=i: self.simulate_batch(chunk, i) for i in range(self.chunk)]

    def simulate_batch(self, chunk: int, number: int) -> dict[str, torch.Tensor]:
        """Simulate one batch.

        Returns
        -------
        dict
            What `simulations.microscope.simulate_images` returns, and the parameters of the sequences by name, (B,) or
            (B, F); excess (B,), variance over mean of shot noise: 1, or 2 with electron multiplication.
        """
        seeds = np.random.SeedSequence([self.seed, chunk, number])
        rng = np.random.default_rng(seeds)
        generator = torch.Generator(self.device).manual_seed(int(seeds.generate_state(1)[0]))
        molecules = draw_molecules(self.prior, self.batch, rng, self.device)
        made = simulate_images(
            molecules, self.size, generator, self.exact, windows=self.windows, subpositions=self.subpositions
        )
        return made | list_parameters(molecules)


def list_parameters(molecules: Molecules) -> dict[str, torch.Tensor]:
    """Return all parameters by name as tensors, the camera as its excess noise."""
    values = {name: value for name, value in vars(molecules).items() if torch.is_tensor(value)}
    others = {
        "pixel_size": molecules.pixel_size,
        "frame_interval": molecules.frame_interval,
        "excess": 2.0 if molecules.camera == "emccd" else 1.0,
    }
    return values | {name: torch.full_like(molecules.d, value) for name, value in others.items()}
