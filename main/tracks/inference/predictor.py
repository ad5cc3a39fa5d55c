"""Networks to frame-wise predictions, for tracks of any length."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from tqdm import tqdm

from main.tracks.features import N_FEATURES
from main.tracks.forward import forward, frame_values, pack, padded_batch, unpack
from main.tracks.inference.calibration import MAX_ALPHA, calibrated, check_calibration
from main.tracks.inference.changepoints import segmentation_options
from main.tracks.inference.windows import longest_track, window_starts, window_weights, workers
from main.tracks.pieces import bridge
from main.utils.errors import InputError
from main.utils.weights import load_weights

MAX_SAMPLE_TRACKS = 64  # tracks that are read together; the largest sample the networks are trained on
MIN_SAMPLE_TRACKS = 10  # tracks; those of smaller samples are read one by one
TRACKS_PER_BATCH = {"cpu": 32, "cuda": 512}  # small batches stay in a CPU's cache
FULL_BATCH_FRAMES = 100  # of a track; shorter ones make a batch of as many frames, where calls cost more than numbers


@dataclass
class Prediction:
    """Frame-wise predictions of one track of T frames.

    Parameters
    ----------
    log10_k : numpy.ndarray, shape (T,)
        log10 of the generalised diffusion coefficient, unit of xy^2/frame^alpha.
    alpha : numpy.ndarray, shape (T,)
        Anomalous exponent, 0 to 2.
    state_probs : numpy.ndarray, shape (T, 4)
        Probabilities of trapped, confined, free, directed; rows sum to 1.
    p_change : numpy.ndarray, shape (T,)
        Probability that a changepoint is at this frame; 0 where the networks have no such head.
    log10_k_lo, log10_k_hi, alpha_lo, alpha_hi : numpy.ndarray, shape (T,)
        Ends of the 90 % intervals of log10_k and alpha, given that the particle is not trapped; NaN where the
        networks have no such heads. Those of alpha may lie beyond 0 and 2.
    correlation : numpy.ndarray, shape (T,)
        Correlation of the errors of log10_k and alpha; 0 without calibration.
    sigma_known : numpy.ndarray of bool, shape (T,)
        Whether the localisation error was known to the networks.
    """

    log10_k: np.ndarray
    alpha: np.ndarray
    state_probs: np.ndarray
    p_change: np.ndarray
    log10_k_lo: np.ndarray | None = None
    log10_k_hi: np.ndarray | None = None
    alpha_lo: np.ndarray | None = None
    alpha_hi: np.ndarray | None = None
    correlation: np.ndarray | None = None
    sigma_known: np.ndarray | None = None

    def __post_init__(self):
        defaults = dict.fromkeys(("log10_k_lo", "log10_k_hi", "alpha_lo", "alpha_hi"), np.nan)
        for name, value in (defaults | {"correlation": 0.0, "sigma_known": False}).items():
            if getattr(self, name) is None:
                setattr(self, name, np.full(len(self.alpha), value))


class Predictor:
    """Runs one set of networks over tracks.

    Parameters
    ----------
    nets : dict[str, torch.nn.Module]
        Networks whose heads together give k, alpha, state and, where they have it, change.
    config : dict
        Configuration of the weights. "features" names the feature set, "training_range" the lengths of the tracks
        trained on, and "calibration" (`main/calibrate.py`) is applied to intervals and state probabilities.
    device : str or torch.device
    """

    def __init__(self, nets, config, device="cpu"):
        self.device = torch.device(device)
        self.nets = {name: net.to(self.device).eval() for name, net in nets.items()}
        self.feature_kind = config.get("features", "default")
        self.calibration = config.get("calibration", {})
        self.window = longest_track(config)
        self.batch = TRACKS_PER_BATCH.get(self.device.type, TRACKS_PER_BATCH["cpu"])

    @property
    def reads_samples(self):
        """Whether the networks can read the tracks of a sample together."""
        return any(hasattr(net, "single") for net in self.nets.values())

    def predict(self, tracks, sigma=None, progress=False, samples=None):
        """Frame-wise predictions of every track.

        Parameters
        ----------
        tracks : list of numpy.ndarray, each shape (T, 2)
            Positions at successive frames, T >= 2, any unit; NaN in frames where the particle was not seen (never the
            first or the last). Values are predicted for these frames too.
        sigma : None, float or sequence of float
            Localisation error of all tracks or of each, unit of the positions; None or NaN means unknown.
        progress : bool
            Show a progress bar.
        samples : sequence, optional
            Sample of each track. Tracks of one sample, which share their unit and their kinds of motion, are then read
            together, up to 64 at once. Samples of fewer than 10 tracks, and all tracks without `samples`, are read
            track by track.

        Returns
        -------
        list of Prediction

        Raises
        ------
        ValueError
            If `samples` are given to networks that read tracks one by one.

        Notes
        -----
        Tracks longer than the longest that the networks were trained on are cut into windows of that length, which
        start every half window. Where windows overlap, their outputs are averaged with triangular weights, so that
        there is no seam.
        """
        if len(tracks) == 0:
            return []
        if samples is not None and not self.reads_samples:
            raise ValueError("these weights read tracks one by one, they cannot be adapted to a sample")
        sigma = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, dtype=np.float64), len(tracks))
        tracks, seen = zip(*map(bridge, tracks), strict=True)
        windows = [(i, start) for i, track in enumerate(tracks) for start in window_starts(len(track), self.window)]
        together, alone = group_windows(windows, samples)
        alone.sort(key=lambda window: min(len(tracks[window[0]]), self.window))
        sizes = [min(len(tracks[i]), self.window) for i, _ in alone]
        batches = together + [alone[rows] for rows in cut_batches(sizes, self.batch)]
        groups = [len(batch) for batch in together] + [1] * (len(batches) - len(together))

        def predict_batch(batch, group):
            cut = [(tracks[i][start : start + self.window], seen[i][start : start + self.window]) for i, start in batch]
            return self._packed_values(*zip(*cut, strict=True), sigma[[i for i, _ in batch]], group)

        lengths = np.array([len(track) for track in tracks])
        with workers(self.device) as pool:
            results = zip(batches, pool.map(predict_batch, batches, groups), strict=True)
            results = tqdm(results, "inference", len(batches), unit="batch", disable=not progress)
            mean = blend_windows(results, lengths, self.window)
        known = np.repeat(np.isfinite(sigma), lengths)
        whole = calibrated(prediction_of(unpack(mean), known), self.calibration)
        borders = np.cumsum(lengths)[:-1]
        columns = [np.split(getattr(whole, field.name), borders) for field in fields(Prediction)]
        return [Prediction(*parts) for parts in zip(*columns, strict=True)]

    @torch.inference_mode()
    def _packed_values(self, pieces, seen, sigma, group) -> np.ndarray:
        """Values of samples of `group` pieces, (B, T, 11) float64, as `forward.pack` lays them out."""
        batch = padded_batch(pieces, sigma, seen, group, self.device)
        return pack(frame_values(*forward(self.nets.values(), batch, self.feature_kind))).cpu().numpy()


def cut_batches(lengths: list[int], n_tracks: int) -> Iterator[slice]:
    """Cut increasing lengths into batches of `n_tracks`, or more where tracks are shorter than FULL_BATCH_FRAMES."""
    lengths, most, first = np.array(lengths, dtype=int), n_tracks * FULL_BATCH_FRAMES, 0
    while first < len(lengths):
        padded = lengths[first : first + most] * np.arange(1, min(most, len(lengths) - first) + 1)
        n = max(np.searchsorted(padded, most, side="right"), n_tracks)
        yield slice(first, first + n)
        first += n


def blend_windows(results, lengths, window: int) -> np.ndarray:
    """Mean over overlapping windows of the values of every frame of all tracks.

    Parameters
    ----------
    results : iterable of (windows, values)
        Windows as (track, first frame), and their values (B, T, C); what stands beyond the end of a track is ignored.
    lengths : numpy.ndarray, shape (N,)
        Frames of each track.
    window : int
        Longest window, frames.

    Returns
    -------
    numpy.ndarray, shape (sum of lengths, C)
        The tracks one after the other.
    """
    offsets, total, weight = np.cumsum(lengths) - lengths, None, np.zeros((lengths.sum(), 1))
    for batch, values in results:
        if total is None:
            total = np.zeros((len(weight), values.shape[-1]))
        for (i, start), value in zip(batch, values, strict=True):
            n = min(lengths[i] - start, window)
            share = window_weights(n, start, lengths[i], window)[:, None]
            rows = slice(offsets[i] + start, offsets[i] + start + n)
            total[rows] += share * value[:n]
            weight[rows] += share
    return total / weight


def prediction_of(values: dict, sigma_known: np.ndarray | None = None) -> Prediction:
    """Values of N frames, as `forward.unpack` gives them, as one Prediction with alpha within 0 and 2."""
    log10_k, alpha = values["log10_k"], values["alpha"]
    (k_below, k_above), (alpha_below, alpha_above) = values["k_interval"].T, values["alpha_interval"].T
    return Prediction(
        log10_k=log10_k,
        alpha=np.clip(alpha, 0.0, MAX_ALPHA),
        state_probs=values["state_probs"],
        p_change=values["p_change"],
        log10_k_lo=log10_k - k_below,
        log10_k_hi=log10_k + k_above,
        alpha_lo=alpha - alpha_below,
        alpha_hi=alpha + alpha_above,
        sigma_known=sigma_known,
    )


def load_predictor(weights, device: str):
    """Networks and configuration behind a name or folder of weights.

    Raises
    ------
    InputError
        Weights that are not there or do not match their checksum, a device that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device is {device}, expected auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda and this machine has none, expected auto or cpu.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        nets, config = load_weights(weights, device)
        segmentation_options(config)
        check_calibration(config)
        if set(nets) == {"k"}:
            raise ValueError(
                f"{weights}: these weights read D alone, expected those of K, alpha and state, such as default; for "
                "D(t) see main/brownian.ipynb."
            )
        if config.get("features", "default") not in N_FEATURES:
            raise ValueError(f"{weights}: weights for unknown features {config['features']!r}")
    except KeyError as error:
        raise InputError(f"{weights}: config.json of these weights lacks {error}.") from error
    except (TypeError, AttributeError) as error:
        raise InputError(f"{weights}: config.json of these weights is damaged ({error}).") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{str(error).rstrip('.')}.") from error
    return Predictor(nets, config, device), config


def group_windows(windows, samples):
    """Windows that are read together, in random lists of up to `MAX_SAMPLE_TRACKS`, and those that are read alone."""
    together, alone = [], list(windows) if samples is None else []
    if samples is not None:
        codes = {name: code for code, name in enumerate(dict.fromkeys(samples))}
        sample = np.array([codes[name] for name in samples], dtype=int)
        of_window = sample[[i for i, _ in windows]]
        rng = np.random.default_rng(0)
        for code, n_tracks in enumerate(np.bincount(sample)):
            rows = np.flatnonzero(of_window == code)
            if n_tracks < MIN_SAMPLE_TRACKS:
                alone += [windows[i] for i in rows]
            else:
                parts = np.array_split(rng.permutation(rows), -(-len(rows) // MAX_SAMPLE_TRACKS))
                together += [[windows[i] for i in part] for part in parts]
    return together, alone
