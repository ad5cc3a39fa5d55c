"""Classical estimators: covariance-based D (CVE) and mean squared displacement (MSD)."""

import numpy as np
import pandas as pd


def cve(xy: np.ndarray, sigma: float | None = None, blur: float = 0.0) -> tuple[float, float]:
    """Covariance-based estimate of a Brownian track's diffusion coefficient and localisation variance.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions, any length unit; rows of NaN are missing frames.
    sigma : float, optional
        Localisation error in the same unit, if known: then only the mean squared step is read.
    blur : float
        Motion blur coefficient R: 0 for an instant exposure, 1/6 for one as long as the frame.

    Returns
    -------
    d : float
        Diffusion coefficient, length^2/frame, never cut at 0; NaN where the track holds too few steps.
    sigma2 : float
        Localisation variance per coordinate, length^2.

    Notes
    -----
    D = <dx^2>/2 + <dx_n dx_(n+1)> and sigma^2 = R <dx^2> + (2R - 1) <dx_n dx_(n+1)>, averaged over
    coordinates: Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eq. 14-16.
    Known sigma: D = (<dx^2> - 2 sigma^2) / (2 - 4R).
    """
    steps = np.diff(np.asarray(xy, dtype=np.float64), axis=0)
    square = _mean(steps**2)
    if sigma is not None:
        return (square - 2.0 * sigma**2) / (2.0 - 4.0 * blur), float(sigma) ** 2
    product = _mean(steps[:-1] * steps[1:])
    return square / 2.0 + product, blur * square + (2.0 * blur - 1.0) * product


def _mean(values: np.ndarray) -> float:
    """Mean of the finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def cve_standard_error(d: float, sigma2: float, n_steps: int, blur: float = 0.0) -> float:
    """Standard error of `cve` with unknown noise, for a track of `n_steps` steps in two dimensions.

    Notes
    -----
    var D = D^2 [(6 + 4e + 2e^2)/N + 4(1 + e)^2/N^2] / 2 with e = sigma^2/D - 2R (Vestergaard 2014).
    """
    e = sigma2 / d - 2.0 * blur
    variance = d**2 * ((6 + 4 * e + 2 * e**2) / n_steps + 4 * (1 + e) ** 2 / n_steps**2) / 2.0
    return float(np.sqrt(variance))


def steps_by_track(table: pd.DataFrame) -> pd.DataFrame:
    """Moments of the steps between neighbouring frames, for every track of a table at once.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).

    Returns
    -------
    pandas.DataFrame
        By track_id, per coordinate, length^2: `square` = <dx^2>, NaN without two frames in a row, and
        `covariance` = <dx_n dx_(n+1)>, NaN without three.
    """
    ids, code = np.unique(table["track_id"].to_numpy(), return_inverse=True)
    frame = table["frame"].to_numpy()
    dx, dy = np.diff(table["x"].to_numpy()), np.diff(table["y"].to_numpy())
    valid = (np.diff(code) == 0) & (np.diff(frame) == 1)
    pair = valid[:-1] & valid[1:]
    product = (dx[:-1] * dx[1:] + dy[:-1] * dy[1:]) / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        square = _mean_by(code[:-1][valid], ((dx**2 + dy**2) / 2.0)[valid], len(ids))
        covariance = _mean_by(code[:-2][pair], product[pair], len(ids))
    moments = {"square": square, "covariance": covariance}
    return pd.DataFrame(moments, index=pd.Index(ids, name="track_id"))


def cve_by_track(table: pd.DataFrame) -> pd.Series:
    """`cve` with unknown noise of every track, length^2/frame by track_id; see `steps_by_track`."""
    steps = steps_by_track(table)
    return steps["square"] / 2.0 + steps["covariance"]


def _mean_by(code, values, n) -> np.ndarray:
    return np.bincount(code, values, minlength=n) / np.bincount(code, minlength=n)


def msd(xy: np.ndarray, max_lag: int) -> np.ndarray:
    """Time-averaged mean squared displacement of a 2-D track.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions; rows of NaN are missing frames.
    max_lag : int
        Largest lag in frames, below T.

    Returns
    -------
    numpy.ndarray, shape (max_lag,)
        length^2 at lags 1..max_lag; NaN where no pair of frames has that lag.
    """
    xy = np.asarray(xy, dtype=np.float64)
    return np.array([2.0 * _mean((xy[lag:] - xy[:-lag]) ** 2) for lag in range(1, max_lag + 1)])


def fit_msd(xy: np.ndarray, sigma: float = 0.0, max_lag: int | None = None) -> tuple[float, float]:
    """Generalised diffusion coefficient and anomalous exponent from a log-log fit of the MSD.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions; rows of NaN are missing frames.
    sigma : float
        Localisation error; 4 sigma^2 is taken off the MSD.
    max_lag : int, optional
        Largest lag; by default a quarter of the track, at least 3.

    Returns
    -------
    k : float
        length^2/frame^alpha; 0 for a track that does not move beyond its noise.
    alpha : float
        Between 0 and 2; 1 where fewer than two lags can be fitted, 0 where k is 0.

    Notes
    -----
    MSD(lag) = 4 K lag^alpha + 4 sigma^2.
    """
    n_lags = min(len(xy) - 1, max_lag or max(3, len(xy) // 4))
    if n_lags < 1:
        return 0.0, 0.0
    lags, values = np.arange(1, n_lags + 1), msd(xy, n_lags) - 4.0 * sigma**2
    use = np.isfinite(values) & (values > 0)
    if not use.any():
        return 0.0, 0.0
    if use.sum() == 1:
        return float(values[use][0] / 4.0 / lags[use][0]), 1.0
    alpha, log_4k = np.polyfit(np.log(lags[use]), np.log(values[use]), 1)
    return float(np.exp(log_4k) / 4.0), float(np.clip(alpha, 0.0, 2.0))
