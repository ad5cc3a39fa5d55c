"""Estimates the camera and the width of the point spread function from images alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize, minimize_scalar
from torch.nn import functional

from main.images.detect import FILTER_PX, measure_background, smooth

EXCESS = {"scmos": 1.0, "emccd": 2.0}  # variance over mean of the shot noise, photoelectrons
FAINT_SCORE, BRIGHT_SCORE = 3.5, 7.0  # heights of spots after the matched filter, standard deviations; see `find_empty`
MASK_PX = 7  # reach of a spot
MIN_EMPTY = 4_000  # pixels
MAX_EMPTY = 4_000_000  # pixels that are used
BINS_PER_SD = 24  # of the histogram
MAX_SD_ABOVE = 12.0  # of the median; values above are left out
STRAY = 1e-5  # probability per standard deviation of values that are not of the background
N_ALIASES = 1  # of the characteristic function on either side, for combs of single photoelectrons
READ_NOISE = (1.2, 0.7)  # prior: median, photoelectrons, and standard deviation of the logarithm; sCMOS have 0.7 to 2.5
BACKGROUND = (5.0, 1.5)  # prior: median, photons per pixel, and standard deviation of the logarithm
OFFSET = (300.0, 250.0)  # prior, counts, of raw images (whole, none negative): 100 of most sCMOS, 100 to 600 of EMCCDs
N_GRID, N_FINE, MAX_EVALUATIONS, N_DRAWS = 20, 24, 150, 1_000  # of the posterior of gain and read noise
GAIN_RANGE = (0.02, 2.0)  # over the standard deviation of the background: backgrounds of .25 to 2,500 photons
SHARE_RANGE = (-6.0, 5.0)  # logit of the share of read noise in the variance
GAIN_STEP = 2e-3  # relative, of the curvature
MAX_BELOW = 12.0  # log-likelihood below the best up to which the grid reaches
MAX_ERROR = 0.1  # relative, of a quantity that counts as identified
MIN_ERROR = 0.003  # relative; of offset: of the background. Molecules that were not masked, the sums of `distribution`
SHARP = 0.03  # relative error of the gain
MAX_READ_ERROR = 0.25
MIN_EVIDENCE = 5.0  # difference of log-likelihoods that tells an EMCCD from a camera without multiplication
EVEN_SHARE, EVEN_RANGE = 0.25, (0.1, 0.3)  # of empty pixels, next to the median background: how many; how near, sd
MIN_SEEN = 0.05  # share of empty values of a place that is used for the map of the background
SMOOTH_PX = 15  # side of the square over which the background map is averaged


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, and whether the images determine it."""

    value: float
    error: float
    identified: bool

    def __str__(self):
        digits = 2 - math.floor(math.log10(abs(self.value) + 1e-9)) if self.value else 2
        digits = min(max(digits, 0), 4)
        text = f"{self.value:.{digits}f} +- {self.error:.{digits}f}"
        return text if self.identified else f"{text} (not identified)"


@dataclass(frozen=True)
class CameraEstimate:
    """What the pixels without molecules tell of the camera.

    Parameters
    ----------
    kind : {"scmos", "emccd"}
        emccd: with the excess noise of electron multiplication.
    offset : Estimate
        Counts without light.
    gain : Estimate
        Counts per photoelectron.
    excess : Estimate
        Variance over mean of the shot noise, photoelectrons: 1, or 2 for an EMCCD.
    gain_excess : Estimate
        gain times excess, counts: the slope of the variance over the mean.
    read_noise : Estimate
        Photoelectrons.
    background : Estimate
        Photons per pixel and frame.
    n_pixels : int
        Values of empty pixels that were used.
    misfit : float
        Chi-square per bin of the histogram; errors are multiplied by its root where it is above 1.
    """

    kind: str
    offset: Estimate
    gain: Estimate
    excess: Estimate
    gain_excess: Estimate
    read_noise: Estimate
    background: Estimate
    n_pixels: int
    misfit: float

    def is_sharp(self) -> bool:
        """Whether gain and excess noise are known so well that spots need not be asked."""
        return self.gain.identified and self.gain.error < SHARP * self.gain.value

    def describe(self) -> str:
        """The estimate in some lines of text."""
        kind = {"scmos": "no electron multiplication", "emccd": "EMCCD"}[self.kind]
        kind = kind if self.excess.identified else f"{kind} (not identified)"
        return "\n".join(
            [
                f"camera: {kind}; from {self.n_pixels:,} empty pixels",
                f"  offset {self.offset} counts, gain {self.gain} counts/photoelectron, "
                f"gain x excess {self.gain_excess} counts",
                f"  read noise {self.read_noise} photoelectrons, background {self.background} photons/pixel",
            ]
        )


def estimate_camera(images, slope: tuple[float, float] | None = None) -> CameraEstimate | None:
    """Estimate offset, gain, excess noise, read noise and background from the distribution of empty pixels.

    Maximum posterior of offset, gain, background and read noise for the histogram of values where there is no
    molecule, with and without electron multiplication. The mean and the variance fix two of the four; the rest
    comes from the skewness and higher moments, so that it needs either many pixels or a clear skewness.

    Parameters
    ----------
    images : array or tensor, shape (F, H, W) or (B, F, H, W)
        Camera counts of one or more sequences from one camera.
    slope : tuple of float, optional
        gain times excess and its standard error, counts, as from `main.images.localise.find_slope`.

    Returns
    -------
    CameraEstimate or None
        None if there are fewer than `MIN_EMPTY` empty pixels, or all are equal.

    Source: photon transfer, Janesick (2007); electron multiplication, Basden et al., MNRAS 345 (2003) 985.
    """
    images = torch.as_tensor(images, dtype=torch.float32)
    images = images[None] if images.dim() == 3 else images
    values, step = collect_empty(images)
    raw = bool(images.min() >= 0 and (images == images.round()).all())
    if len(values) < MIN_EMPTY or values.std() == 0:
        return None
    counts, centres, width = make_histogram(values, step)
    fits = {kind: _fit_histogram(counts, centres, width, excess, slope, raw) for kind, excess in EXCESS.items()}
    kind = max(fits, key=lambda name: fits[name].log_evidence)
    return _summarize(kind, fits, counts, centres, width)


def collect_empty(images: torch.Tensor) -> tuple[np.ndarray, float]:
    """Collect the counts of pixels without a molecule, and the step between possible counts (0: not known).

    Where the background is uneven in space or time, pixels near its median level are taken.
    """
    raw = images[:, ::4].flatten()[:100_000]
    step = find_step(raw.numpy())
    generator = torch.Generator().manual_seed(0)
    dithered = images + step * (torch.rand(images.shape, generator=generator) - 0.5)  # quantiles need a continuum
    middle, sd = measure_background(dithered)
    empty = find_empty(dithered - middle[:, None, None, None])
    weight = empty.float()
    total = weight.sum((1, 2, 3), keepdim=True).clamp(min=1)
    above = (images - middle[:, None, None, None]) * weight
    mean = above.sum((1, 2, 3), keepdim=True) / total
    in_time = above.sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1)
    side = min(SMOOTH_PX, min(images.shape[-2:]) // 2 * 2 - 1)
    pool = {"kernel_size": side, "stride": 1, "padding": side // 2, "count_include_pad": False}
    seen = functional.avg_pool2d(weight.sum(1), **pool)
    in_space = functional.avg_pool2d(above.sum(1), **pool) / seen.clamp(min=1e-3)
    in_space = torch.where(seen > MIN_SEEN * weight.shape[1], in_space, mean[:, 0])[:, None]
    if not empty.any():
        return np.empty(0), step
    level = in_time + in_space + middle[:, None, None, None] - mean
    some = level[empty]
    some = some[:: max(1, len(some) // 2**20)]  # as many as torch.quantile takes
    off = (level - some.median()).abs() / sd.median()
    near = ((some - some.median()).abs() / sd.median()).quantile(EVEN_SHARE).clamp(*EVEN_RANGE)
    even = off <= near
    values = images[empty & even].double().numpy()
    return values[:: max(1, len(values) // MAX_EMPTY)], step


def find_empty(images: torch.Tensor) -> torch.Tensor:
    """Say which pixels have no molecule near them, (B, F, H, W) bool.

    A faint spot counts in the frames before and after its own only. Else the highest values of the noise would be taken
    for spots and left out, and its distribution would lack them.
    """
    score = torch.maximum(*(_standardize(smooth(images, width)) for width in FILTER_PX))
    side = 2 * MASK_PX + 1
    faint, bright = (
        functional.max_pool2d((score > limit).float(), side, 1, MASK_PX) > 0 for limit in (FAINT_SCORE, BRIGHT_SCORE)
    )
    near = torch.zeros_like(faint)
    near[:, 1:] |= faint[:, :-1]
    near[:, :-1] |= faint[:, 1:]
    return ~(near | bright)


def _standardize(images: torch.Tensor) -> torch.Tensor:
    middle, sd = (v[:, None, None, None] for v in measure_background(images))
    return (images - middle) / sd


def find_step(values: np.ndarray) -> float:
    """Return the step between possible counts: their greatest common divisor, 0 if they are not whole numbers."""
    if (values != np.round(values)).any():
        return 0.0
    return float(np.gcd.reduce(np.unique(values - values.min()).astype(np.int64)))


def make_histogram(values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return how many values each bin holds, the middles of the bins, and their width."""
    middle, low = np.quantile(values, [0.5, 0.1587])
    sd = max(middle - low, step or 1e-6)
    values = values[values <= middle + MAX_SD_ABOVE * sd]
    width = max(1, math.floor(sd / BINS_PER_SD / step)) * step if step else sd / BINS_PER_SD
    first = values.min() - (step / 2 if step else width / 2)
    index = np.floor((values - first) / width).astype(np.int64)
    counts = np.bincount(index).astype(np.float64)
    return counts, first + (np.arange(len(counts)) + 0.5) * width, width


def _unpack(theta: np.ndarray, excess: float) -> tuple[float, float, float, float]:
    """Offset, gain, background and read noise from mean, log variance, log gain and logit of the share of read noise.

    Mean and variance are known well, and hardly depend on the others.
    """
    mean, variance, gain = theta[0], math.exp(theta[1]), math.exp(theta[2])
    share = 1 / (1 + math.exp(-theta[3]))
    background = variance * (1 - share) / (excess * gain**2)
    return mean - gain * background, gain, background, math.sqrt(share * variance) / gain


def distribution(theta: np.ndarray, excess: float, centres: np.ndarray, width: float) -> np.ndarray:
    """Probability of each bin, from the characteristic function of shot noise, multiplication and read noise."""
    offset, gain, background, read = _unpack(theta, excess)
    n = 2 ** math.ceil(math.log2(2 * len(centres) + 64))
    k = np.fft.fftfreq(n, 1 / n)
    w = 2 * np.pi / (n * width) * (k + n * np.arange(-N_ALIASES, N_ALIASES + 1)[:, None])
    one = np.exp(1j * gain * w) if excess == 1 else 1 / (1 - 1j * gain * w)
    exponent = background * (one - 1) + 1j * w * (offset - centres[0]) - (gain * read * w) ** 2 / 2
    transform = (np.exp(exponent) * np.sinc(w * width / (2 * np.pi))).sum(0)
    return np.fft.fft(transform).real[: len(centres)].clip(0) / n


@dataclass
class _Posterior:
    """Draws from the posterior of one kind of camera, (N, 4) as `_unpack` returns, and log of the evidence."""

    draws: np.ndarray
    best: np.ndarray
    log_evidence: float


def _fit_histogram(counts, centres, width, excess, slope, raw) -> _Posterior:
    """Find the posterior of the share of read noise on a grid, and of the gain around its best value for each share.

    The two are correlated so closely that a grid of both would miss their ridge. Mean and variance are hardly
    uncertain.
    """
    n = counts.sum()
    mean = (counts * centres).sum() / n
    variance = (counts * (centres - mean) ** 2).sum() / n
    cost = _make_cost(counts, centres, width, excess, slope, raw)
    gains = math.log(math.sqrt(variance)) + np.linspace(*np.log(GAIN_RANGE), N_GRID)
    shares = np.linspace(*SHARE_RANGE, N_GRID)
    table = np.array([[cost(np.array([mean, math.log(variance), g, s])) for g in gains] for s in shares])
    i, j = np.unravel_index(table.argmin(), table.shape)
    best = np.array([mean, math.log(variance), gains[j], shares[i]])
    size = np.array([math.sqrt(variance / n), math.sqrt(2 / n), np.diff(gains)[0] / 2, np.diff(shares)[0] / 2])
    simplex = np.vstack([best, best + np.diag(size)])
    options = {"initial_simplex": simplex, "maxfev": MAX_EVALUATIONS, "xatol": 1e-5, "fatol": 1e-3}
    best = minimize(cost, best, method="Nelder-Mead", options=options).x
    profile = _profile_gain(cost, best, shares, gains[table.argmin(1)], np.diff(gains)[0])
    near = (profile[0] < profile[0].min() + MAX_BELOW).nonzero()[0]
    fine = np.linspace(shares[max(near[0] - 1, 0)], shares[min(near[-1] + 1, N_GRID - 1)], N_FINE)
    start = np.interp(fine, shares, profile[1])
    costs, middle, sd = _profile_gain(cost, best, fine, start, np.diff(gains)[0])
    weight = np.exp(costs.min() - costs) * sd
    rng = np.random.default_rng(0)
    k = rng.choice(N_FINE, N_DRAWS, p=weight / weight.sum())
    thetas = np.stack(
        [
            best[0] + math.sqrt(variance / n) * rng.normal(size=N_DRAWS),
            best[1] + math.sqrt(2 / n) * rng.normal(size=N_DRAWS),
            middle[k] + sd[k] * rng.normal(size=N_DRAWS),
            fine[k] + (fine[1] - fine[0]) * rng.uniform(-0.5, 0.5, N_DRAWS),
        ],
        axis=1,
    )
    thetas[:, 2] += np.gradient(middle, fine)[k] * (thetas[:, 3] - fine[k])
    draws = np.array([_unpack(theta, excess) for theta in thetas])
    return _Posterior(draws, best, float(math.log(weight.sum() * (fine[1] - fine[0])) - costs.min()))


def _profile_gain(cost, best, shares, starts, step) -> np.ndarray:
    """Lowest cost, log gain there and its standard deviation for each share of read noise, (3, n)."""
    found = np.empty((3, len(shares)))
    for i, (share, start) in enumerate(zip(shares, starts, strict=True)):

        def along(gain, share=share):
            return cost(np.array([best[0], best[1], gain, share]))

        ends = (start - 1.5 * step, start + 1.5 * step)
        result = minimize_scalar(along, bounds=ends, method="bounded", options={"xatol": 1e-4})
        h = GAIN_STEP
        curvature = (along(result.x + h) + along(result.x - h) - 2 * result.fun) / h**2
        found[:, i] = result.fun, result.x, 1 / math.sqrt(max(curvature, 1.0))
    return found


def _make_cost(counts, centres, width, excess, slope, raw):
    """Return the negative log-posterior as a function of the parameters of `_unpack`."""
    stray = _find_stray(counts, centres, width)

    def cost(theta):
        """Negative log-posterior of the parameters (4,)."""
        if not (abs(theta[2]) < 20 and abs(theta[3]) < 20 and abs(theta[1]) < 40):
            return 1e12
        probability = distribution(theta, excess, centres, width) + stray
        offset, gain, background, read = _unpack(theta, excess)
        prior = 0.5 * (math.log(read / READ_NOISE[0]) / READ_NOISE[1]) ** 2 + math.log1p(math.exp(theta[3]))
        prior += 0.5 * (math.log(background / BACKGROUND[0]) / BACKGROUND[1]) ** 2
        if raw:
            prior += 0.5 * ((offset - OFFSET[0]) / OFFSET[1]) ** 2
        if slope is not None:
            prior += 0.5 * (math.log(gain * excess / slope[0]) * slope[0] / slope[1]) ** 2
        return prior - (counts * np.log(probability)).sum()

    return cost


def _find_stray(counts, centres, width) -> float:
    """Probability of a bin by stray values."""
    mean = np.average(centres, weights=counts)
    return STRAY * width / math.sqrt(np.average((centres - mean) ** 2, weights=counts))


def _summarize(kind, fits, counts, centres, width) -> CameraEstimate:
    """Turn the better fit into values with errors."""
    excess, fit, n = EXCESS[kind], fits[kind], counts.sum()
    expected = n * (distribution(fit.best, excess, centres, width) + _find_stray(counts, centres, width))
    used = expected > 10
    misfit = ((counts[used] - expected[used]) ** 2 / expected[used]).sum() / max(1, used.sum() - 4)
    other = "emccd" if kind == "scmos" else "scmos"
    evidence = (fit.log_evidence - fits[other].log_evidence) / max(1.0, misfit)
    known = evidence > MIN_EVIDENCE
    values = np.median(fit.draws, axis=0)
    square = ((fit.draws - values) ** 2).mean(0)
    if not known:  # the values may be those of the other kind
        doubt, ratio = 1 / (1 + math.exp(evidence)), np.array([1, EXCESS[other] / excess, 1, 1])
        square = (1 - doubt) * square + doubt * ((fits[other].draws * ratio - values) ** 2).mean(0)
    floor = MIN_ERROR * np.array([values[1] * values[2], *values[1:]])
    errors = np.hypot(np.sqrt(square * max(1.0, misfit)), floor)
    offset, gain, background, read = zip(values.tolist(), errors.tolist(), strict=True)
    signal = gain[0] * background[0]

    def judge(pair, scale, limit=MAX_ERROR):
        return Estimate(*pair, identified=bool(pair[1] < limit * scale))

    product = (gain[0] * excess, gain[1] * excess)
    single = judge(gain, gain[0])
    return CameraEstimate(
        kind=kind,
        offset=judge(offset, signal),
        gain=Estimate(*gain, identified=single.identified and known),
        excess=Estimate(excess, 0.0 if known else 0.5, known),
        gain_excess=judge(product, product[0]),
        read_noise=judge(read, read[0], MAX_READ_ERROR),
        background=judge(background, background[0]),
        n_pixels=int(n),
        misfit=float(misfit),
    )
