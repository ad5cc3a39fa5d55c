"""Networks to frame-wise predictions for tracks of any length."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from tqdm import tqdm

from main.models.heads import INTERVAL_HEADS
from main.tracks.features import N_FEATURES, features
from main.tracks.inference.calibration import MAX_ALPHA, calibrated
from main.tracks.inference.changepoints import segmentation_options
from main.tracks.inference.windows import WINDOW, window_starts, window_weights, workers
from main.tracks.pieces import bridge
from main.utils.errors import InputError
from main.utils.weights import load_weights

SAMPLE = 64  # tracks that are read together; the largest sample the networks are trained on
FEWEST = 10  # tracks of a sample; smaller ones are read track by track
N_VALUES = 11  # for each frame, see Predictor._predict_batch
BATCH = {"cpu": 32, "cuda": 512}  # tracks; small batches stay in a CPU's cache


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
        networks have no such heads.
    """

    log10_k: np.ndarray
    alpha: np.ndarray
    state_probs: np.ndarray
    p_change: np.ndarray
    log10_k_lo: np.ndarray | None = None
    log10_k_hi: np.ndarray | None = None
    alpha_lo: np.ndarray | None = None
    alpha_hi: np.ndarray | None = None

    def __post_init__(self):
        for name in ("log10_k_lo", "log10_k_hi", "alpha_lo", "alpha_hi"):
            if getattr(self, name) is None:
                setattr(self, name, np.full(len(self.alpha), np.nan))


class Predictor:
    """Runs one set of networks over tracks.

    Parameters
    ----------
    nets : dict[str, torch.nn.Module]
        Networks whose heads together give k, alpha, state and, where they have it, change.
    config : dict
        The weights' configuration; "features" names the feature set, "calibration" (`main/calibrate.py`) is
        applied to intervals and state probabilities.
    device : str or torch.device
    """

    def __init__(self, nets, config, device="cpu"):
        self.device = torch.device(device)
        self.nets = {name: net.to(self.device).eval() for name, net in nets.items()}
        self.feature_kind = config.get("features", "default")
        self.calibration = config.get("calibration", {})
        self.batch = BATCH.get(self.device.type, BATCH["cpu"])

    @property
    def reads_samples(self):
        """Whether the networks can read a track in the light of its sample."""
        return any(hasattr(net, "single") for net in self.nets.values())

    def predict(self, tracks, sigma=None, progress=False, samples=None):
        """Frame-wise predictions of every track.

        Parameters
        ----------
        tracks : list of numpy.ndarray, each shape (T, 2)
            Positions at successive frames, T >= 2, any unit; NaN in frames where the particle was not seen, which the
            first and the last are not. Values are predicted for these too.
        sigma : None, float or sequence of float
            Localisation error of all tracks or of each, unit of the positions; None or NaN means unknown.
        progress : bool
            Show a progress bar.
        samples : sequence, optional
            Sample of each track. Tracks of one sample, which share their unit and their kinds of motion, are then read
            together, up to 64 at once; samples of fewer than 10 tracks, and all without `samples`, track by track.

        Returns
        -------
        list of Prediction

        Raises
        ------
        ValueError
            If `samples` are given to networks that read tracks one by one.

        Notes
        -----
        Tracks longer than 200 frames are cut into windows of 200 that start every 100 frames; where windows
        overlap the outputs are averaged with triangular weights, so that there is no seam.
        """
        if len(tracks) == 0:
            return []
        sigma = np.broadcast_to(np.nan if sigma is None else np.asarray(sigma, dtype=np.float64), len(tracks))
        tracks, seen = zip(*map(bridge, tracks), strict=True)
        offsets = np.cumsum([0] + [len(track) for track in tracks])
        total = np.zeros((offsets[-1], N_VALUES + 1))  # weighted sums of what _predict_batch gives; and the weight
        windows = [(i, start) for i, track in enumerate(tracks) for start in window_starts(len(track))]
        if samples is not None and not self.reads_samples:
            raise ValueError("these weights read tracks one by one, they cannot be adapted to a sample")
        together, alone = _groups(windows, samples)
        alone.sort(key=lambda window: min(len(tracks[window[0]]), WINDOW))
        batches = together + [alone[i : i + self.batch] for i in range(0, len(alone), self.batch)]
        groups = [len(batch) for batch in together] + [1] * (len(batches) - len(together))

        def predicted(batch, group):
            pieces, there = ([values[i][start : start + WINDOW] for i, start in batch] for values in (tracks, seen))
            return self._predict_batch(pieces, there, sigma[[i for i, _ in batch]], group)

        with workers(self.device) as pool:
            results = zip(batches, pool.map(predicted, batches, groups), strict=True)
            for batch, values in tqdm(results, "inference", len(batches), unit="batch", disable=not progress):
                for (i, start), value in zip(batch, values, strict=True):
                    n = min(len(tracks[i]) - start, WINDOW)
                    weight = window_weights(n, start, len(tracks[i]))[:, None]
                    rows = slice(offsets[i] + start, offsets[i] + start + n)
                    total[rows, :-1] += weight * value[:n]
                    total[rows, -1:] += weight
        whole = calibrated(_prediction(total[:, :-1] / total[:, -1:]), self.calibration)
        columns = [np.split(getattr(whole, field.name), offsets[1:-1]) for field in fields(Prediction)]
        return [Prediction(*parts) for parts in zip(*columns, strict=True)]

    @torch.inference_mode()
    def _predict_batch(self, pieces, seen_in, sigma, group):
        """(B, T, 11) float64 of samples of `group` tracks; padding is junk.

        log10 K, alpha, state probabilities (4), probability of change, and the widths of the intervals: of log10 K
        below and above, of alpha below and above.
        """
        length = np.array([len(piece) for piece in pieces])
        xy = np.zeros((len(pieces), length.max(), 2), dtype=np.float32)  # (B, T, 2)
        seen = np.ones(xy.shape[:2], dtype=bool)
        for i, (piece, there) in enumerate(zip(pieces, seen_in, strict=True)):
            xy[i, : len(piece)] = piece - piece[0]  # in float64: float32 loses steps far from 0
            seen[i, : len(piece)] = there
        length = torch.as_tensor(length, device=self.device)
        sigma = torch.as_tensor(sigma, dtype=torch.float32, device=self.device)
        xy = torch.as_tensor(xy, device=self.device)
        seen = None if seen.all() else torch.as_tensor(seen, device=self.device)
        feats, log10_scale = features(xy, length, sigma, self.feature_kind, seen)
        heads = {}
        for net in self.nets.values():
            heads |= net(feats, length, log10_scale, group)
        heads = {name: value.double() for name, value in heads.items()}
        log10_k = heads["k"] + 2.0 * log10_scale[:, None]
        change = torch.sigmoid(heads["change"]) if "change" in heads else torch.zeros_like(log10_k)
        state = torch.softmax(heads["state"], dim=-1)
        none = log10_k.new_full((*log10_k.shape, 2), torch.nan)
        intervals = [heads.get(name, none) for name in INTERVAL_HEADS]
        parts = [log10_k[..., None], heads["alpha"][..., None], state, change[..., None], *intervals]
        return torch.cat(parts, dim=-1).cpu().numpy()


def _prediction(values):
    """What `Predictor._predict_batch` gives for N frames, (N, 11), as one Prediction."""
    log10_k, alpha, change, *widths = values[:, [0, 1, 6, 7, 8, 9, 10]].T
    alpha_lo, alpha_hi = (np.clip(end, 0.0, MAX_ALPHA) for end in (alpha - widths[2], alpha + widths[3]))
    return Prediction(
        log10_k,
        np.clip(alpha, 0.0, MAX_ALPHA),
        values[:, 2:6],
        change,
        log10_k - widths[0],
        log10_k + widths[1],
        alpha_lo,
        alpha_hi,
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
        if set(nets) == {"k"}:
            raise ValueError(f"{weights}: weights that read D alone (for main.tracks.diffusion)")
        if config.get("features", "default") not in N_FEATURES:
            raise ValueError(f"{weights}: weights for unknown features {config['features']!r}")
    except KeyError as error:
        raise InputError(f"{weights}: config.json of these weights lacks {error}.") from error
    except (TypeError, AttributeError) as error:
        raise InputError(f"{weights}: config.json of these weights is damaged ({error}).") from error
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    return Predictor(nets, config, device), config


def _groups(windows, samples):
    """Windows to be read together, in lists of up to `SAMPLE` dealt at random, and those to be read one by one."""
    together, alone = [], list(windows) if samples is None else []
    if samples is not None:
        codes = {name: code for code, name in enumerate(dict.fromkeys(samples))}
        sample = np.array([codes[name] for name in samples], dtype=int)
        of_window = sample[[i for i, _ in windows]]
        rng = np.random.default_rng(0)
        for code, n_tracks in enumerate(np.bincount(sample)):
            rows = np.flatnonzero(of_window == code)
            if n_tracks < FEWEST:
                alone += [windows[i] for i in rows]
            else:
                parts = np.array_split(rng.permutation(rows), -(-len(rows) // SAMPLE))
                together += [[windows[i] for i in part] for part in parts]
    return together, alone
