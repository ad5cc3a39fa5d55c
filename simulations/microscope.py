"""How an image of one diffusing molecule is made: its path within each frame, the point spread function, the camera.

Inside, lengths are in pixels and times in frames; `Molecules` converts from um^2/s, um and s. All functions are batched
torch and run on a CPU or a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch

FWHM_OF_SIGMA = 2.355  # full width at half maximum of a Gaussian over its standard deviation
CAMERAS = ("poisson", "scmos", "emccd")
SUBSTEPS = (10, 20, 40, 64)  # sub-positions of a frame; 10 in the method that this observable started from
SUBSTEPS_PER_RATIO = 3.0  # sub-positions per D dt / sigma^2: each then adds at most sigma^2 / 9 to the variance
PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**26}  # of all frames of some sequences, so that they stay in the fast memory
WINDOW_JITTER_PX = 0.7  # standard deviation of the middle of a window, per coordinate
MISPLACED_WINDOWS, MISPLACED_PX = 0.02, 6.0  # share of frames in which the detection took something else; how far off
N_SUBPOSITIONS = 10  # of a frame in the method that this observable started from
SKEWED_FROM = 1.0  # photons; from here on noise may be drawn by its first three moments (`add_camera_noise`)


@dataclass(frozen=True)
class Molecules:
    """Parameters of B image sequences of one molecule each; tensors of shape (B,), photons of shape (B, F).

    Parameters
    ----------
    d : torch.Tensor
        Diffusion coefficient, um^2/s.
    photons : torch.Tensor, shape (B, F)
        Mean number of photons of the molecule in each frame; 0 while it is dark.
    background : torch.Tensor
        Mean number of photons of the background in each pixel of a frame.
    psf_sigma : torch.Tensor, shape (B,) or (B, F)
        Standard deviation of the point spread function, um.
    exposure : torch.Tensor
        Share of the frame interval during which the shutter is open, 0 to 1.
    gain, offset : torch.Tensor
        Camera counts per photoelectron, and counts without light.
    read_noise : torch.Tensor
        Standard deviation of the read noise, photoelectrons (of an EMCCD: after division by its multiplication).
    pixel_size : float
        um.
    frame_interval : float
        s.
    camera : {"poisson", "scmos", "emccd"}
        poisson: shot noise only; scmos: shot and read noise; emccd: also the excess noise of electron multiplication.
    """

    d: torch.Tensor
    photons: torch.Tensor
    background: torch.Tensor
    psf_sigma: torch.Tensor
    exposure: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor
    read_noise: torch.Tensor
    pixel_size: float = 0.1
    frame_interval: float = 0.01
    camera: str = "scmos"

    def __len__(self):
        return len(self.d)

    @property
    def d_px(self) -> torch.Tensor:
        """Diffusion coefficient, px^2/frame."""
        return self.d * self.frame_interval / self.pixel_size**2

    @property
    def psf_px(self) -> torch.Tensor:
        """Standard deviation of the point spread function, px."""
        return self.psf_sigma / self.pixel_size

    def take(self, rows) -> Molecules:
        """Return the parameters of some of the sequences."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        return Molecules(**{n: v[rows] if torch.is_tensor(v) else v for n, v in chosen.items()})


def count_substeps(molecules: Molecules) -> torch.Tensor:
    """Return how many sub-positions of a frame the image of each molecule needs, (B,) int64 from `SUBSTEPS`.

    The image of a sub-interval is a Gaussian around its mean position, see `render`. With `SUBSTEPS_PER_RATIO` times
    D dt / sigma^2 of them, its width hardly differs from that of the point spread function.
    """
    narrowest = molecules.psf_px.reshape(len(molecules), -1).amin(1)
    ratio = molecules.d_px * molecules.exposure / narrowest**2
    choices = torch.tensor(SUBSTEPS, device=ratio.device)
    return choices[torch.bucketize(SUBSTEPS_PER_RATIO * ratio, choices[:-1])]


def simulate_paths(molecules: Molecules, n_substeps: int, generator: torch.Generator) -> torch.Tensor:
    """Simulate Brownian motion while the shutter is open, as mean positions over sub-intervals.

    Over a sub-interval of length h the displacement is normal with variance 2 D h, and the mean position, given it, is
    normal around its middle with variance D h / 6 (a Brownian bridge).

    Parameters
    ----------
    molecules : Molecules
        B sequences of F frames.
    n_substeps : int
        S, sub-intervals of the exposure of a frame.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor, shape (B, F, S, 2)
        px, from 0 at the beginning of the first frame. The shutter is open at the beginning of each frame interval.
    """
    b, f = molecules.photons.shape
    device = molecules.d.device
    d, share = molecules.d_px[:, None, None], molecules.exposure[:, None, None]
    h = share / n_substeps  # frames

    def normal(*shape):
        return torch.randn(*shape, 2, generator=generator, device=device)

    steps = normal(b, f, n_substeps) * (2 * d * h).sqrt()[..., None]
    dark = normal(b, f, 1) * (2 * d * (1 - share)).clamp(min=0).sqrt()[..., None]  # while the shutter is closed
    moved = torch.cat([steps, dark], dim=2).view(b, -1, 2).cumsum(1).view(b, f, n_substeps + 1, 2)[:, :, :-1]
    return moved - steps / 2 + normal(b, f, n_substeps) * (d * h / 6).sqrt()[..., None]


def render(path: torch.Tensor, molecules: Molecules, size: int) -> torch.Tensor:
    """Render the mean number of photons of the molecules in every pixel, without background.

    The point spread function is a Gaussian, integrated over each pixel. The spread of positions within a sub-interval
    (variance D h / 3 in the mean) widens it, so that the mean squared width of the images is exact at any number of
    sub-intervals.

    Parameters
    ----------
    path : torch.Tensor, shape (B, F, S, 2)
        Mean positions over sub-intervals, px; (0, 0) is the middle of the image, x along columns.
    molecules : Molecules
    size : int
        Pixels along a side.

    Returns
    -------
    torch.Tensor, shape (B, F, size, size)
        Photons; rows are y. Their sum is `photons` less what falls outside the image.
    """
    n = path.shape[2]
    psf = molecules.psf_px.reshape(len(path), -1)  # (B, 1) or (B, F)
    width = (psf**2 + (molecules.d_px * molecules.exposure / (3 * n))[:, None]).sqrt()
    edges = torch.arange(size + 1, device=path.device, dtype=path.dtype) - size / 2
    scale = math.sqrt(2) * width[:, :, None, None]
    parts = []
    for axis in range(2):
        cumulative = torch.erf((edges - path[..., axis, None]) / scale)
        parts.append((cumulative[..., 1:] - cumulative[..., :-1]) / 2)  # (B, F, S, size)
    x, y = parts
    return (y.mT * (molecules.photons / n)[..., None, None]) @ x


def add_camera_noise(
    mean: torch.Tensor, molecules: Molecules, generator: torch.Generator, exact: bool = True
) -> torch.Tensor:
    """Turn mean photons into camera counts: shot noise, electron multiplication, read noise, gain, offset.

    Parameters
    ----------
    mean : torch.Tensor, shape (B, F, H, W)
        Mean number of photons, background included.
    molecules : Molecules
    generator : torch.Generator
    exact : bool
        Otherwise noise of sequences with a background of a photon or more is drawn from a distribution with the same
        mean, variance and skewness, which takes half the time.

    Returns
    -------
    torch.Tensor, shape (B, F, H, W)
        Counts, not rounded.

    Source: electron multiplication as a gamma distribution, Basden et al., MNRAS 345 (2003) 985.
    """
    multiplied = molecules.camera == "emccd"
    if exact:
        electrons = _draw_electrons(mean, multiplied, generator)
    else:
        bright = molecules.background >= SKEWED_FROM
        electrons = torch.empty_like(mean)
        electrons[~bright] = _draw_electrons(mean[~bright], multiplied, generator)
        electrons[bright] = _draw_skewed(mean[bright], multiplied, generator)
    if molecules.camera != "poisson":
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        electrons += noise.mul_(molecules.read_noise[:, None, None, None])
    return electrons.mul_(molecules.gain[:, None, None, None]).add_(molecules.offset[:, None, None, None])


def _draw_electrons(mean: torch.Tensor, multiplied: bool, generator: torch.Generator) -> torch.Tensor:
    """Draw photoelectrons, (any shape); multiplied ones are divided by the mean multiplication."""
    electrons = torch.poisson(mean, generator=generator)
    if not multiplied:
        return electrons
    return torch.where(electrons > 0, torch._standard_gamma(electrons.clamp(min=1), generator=generator), 0.0)


def _draw_skewed(mean: torch.Tensor, multiplied: bool, generator: torch.Generator) -> torch.Tensor:
    """Draw numbers with the mean, variance and skewness of `_draw_electrons`.

    For standard normal g, m + a g + c (g^2 - 1) has variance a^2 + 2 c^2 and third cumulant 6 a^2 c + 8 c^3. Without
    multiplication both are m, with it 2 m and 6 m.
    """
    g = torch.randn(mean.shape, generator=generator, device=mean.device)
    factor, c = (2.0, 0.5) if multiplied else (1.0, 1 / 6)
    amplitude = (factor * mean - 2 * c**2).sqrt_()
    return amplitude.mul_(g).add_(mean).add_(g.square_().sub_(1), alpha=c)


def simulate_images(
    molecules: Molecules,
    size: int,
    generator: torch.Generator,
    exact: bool = True,
    start: torch.Tensor | None = None,
    windows: bool = False,
    extra: torch.Tensor | None = None,
    subpositions: bool = False,
) -> dict[str, torch.Tensor]:
    """Simulate image sequences of one molecule each.

    Parameters
    ----------
    molecules : Molecules
        B sequences of F frames.
    size : int
        Pixels along a side.
    generator : torch.Generator
    exact : bool
        See `add_camera_noise`.
    start : torch.Tensor, shape (B, 2), optional
        Mean position over all frames, px from the middle of the image; by default at random within its central pixel.
    windows : bool
        Whether every frame is a window around the molecule, as cut out by a detection, see `place_windows`.
    extra : torch.Tensor, shape (B, F, size, size), optional
        Mean photons of other light.
    subpositions : bool
        Whether to return subpositions.

    Returns
    -------
    dict
        images (B, F, size, size), camera counts; position (B, F, 2), mean position while the shutter was open, px from
        the middle of the field; scatter (B, F, 3), variances along x and y and covariance of the position within the
        frame, px^2; centre (B, F, 2), middle of the image in the field, whole px; subpositions (B, F, 10, 2), mean
        positions over tenths of the exposure, px as position.
    """
    b, f = molecules.photons.shape
    device = molecules.d.device
    if start is None:
        start = torch.rand(b, 2, generator=generator, device=device) - 0.5
    made = {
        "images": torch.empty(b, f, size, size, device=device),
        "position": torch.empty(b, f, 2, device=device),
        "scatter": torch.empty(b, f, 3, device=device),
        "centre": torch.zeros(b, f, 2, device=device),
    }
    if subpositions:
        made["subpositions"] = torch.empty(b, f, N_SUBPOSITIONS, 2, device=device)
    needed = count_substeps(molecules)
    at_once = max(1, PIXELS_AT_ONCE[device.type] // (f * size**2))
    alike = [(needed == n).nonzero()[:, 0].split(at_once) for n in needed.unique()]
    for rows in (rows for group in alike for rows in group):
        part = molecules.take(rows)
        path = simulate_paths(part, int(needed[rows[0]]), generator)
        path += (start[rows] - path.mean((1, 2)))[:, None, None]
        made["position"][rows], made["scatter"][rows] = describe_paths(path, part)
        if subpositions:
            made["subpositions"][rows] = average_substeps(path, N_SUBPOSITIONS)
        if windows:
            made["centre"][rows] = place_windows(made["position"][rows], part.photons > 0, generator)
            path -= made["centre"][rows][:, :, None]
        mean = render(path, part, size) + part.background[:, None, None, None]
        mean = mean if extra is None else mean + extra[rows]
        made["images"][rows] = add_camera_noise(mean, part, generator, exact)
    return made


def average_substeps(path: torch.Tensor, n: int) -> torch.Tensor:
    """Average mean positions over sub-intervals, (B, F, S, 2), to those over n parts of the exposure, (B, F, n, 2)."""
    s = path.shape[2]
    edges = torch.linspace(0, s, n + 1, device=path.device)[:, None]
    covered = (edges - torch.arange(s, device=path.device)).clamp(0, 1)  # (n + 1, S), share of each before each edge
    return covered.diff(dim=0) @ path * (n / s)


def place_windows(position: torch.Tensor, lit: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Place windows around molecules as a detection does: off by about a pixel, and now and then on something else.

    Parameters
    ----------
    position : torch.Tensor, shape (B, F, 2)
        px.
    lit : torch.Tensor of bool, shape (B, F)
        Whether there is light from the molecule; otherwise the window is misplaced.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor, shape (B, F, 2)
        Whole pixels.
    """
    device = position.device
    lost = torch.rand(lit.shape, generator=generator, device=device) < MISPLACED_WINDOWS
    sd = torch.where(lost | ~lit, MISPLACED_PX, WINDOW_JITTER_PX)[..., None]
    return (position + sd * torch.randn(position.shape, generator=generator, device=device)).round()


def describe_paths(path: torch.Tensor, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean position in each frame and the variances and covariance of the position within it.

    Parameters
    ----------
    path : torch.Tensor, shape (B, F, S, 2)
    molecules : Molecules

    Returns
    -------
    position : torch.Tensor, shape (B, F, 2)
    scatter : torch.Tensor, shape (B, F, 3)
        Of x, of y, of both; the mean spread within sub-intervals is added to the variances.
    """
    position = path.mean(2)
    dx, dy = (path - position[:, :, None]).unbind(-1)
    within = (molecules.d_px * molecules.exposure / (3 * path.shape[2]))[:, None]
    return position, torch.stack([(dx**2).mean(2) + within, (dy**2).mean(2) + within, (dx * dy).mean(2)], dim=-1)
