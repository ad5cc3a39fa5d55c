"""Classical estimators: covariance-based D (CVE), maximum likelihood (MLE) and mean squared displacement (MSD)."""

import numpy as np
import pandas as pd
from scipy.fft import dst


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


def cve_by_track(table: pd.DataFrame, sigma: pd.Series | None = None) -> pd.Series:
    """Diffusion coefficient of every track, taken as Brownian; unbiased, so negative on some short noisy ones.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).
    sigma : pandas.Series, optional
        Localisation error by track_id, unit of x; NaN, or no Series, where it is unknown.

    Returns
    -------
    pandas.Series
        D by track_id, length^2/frame, never cut at 0. NaN without three frames in a row, or, where sigma is
        known, without two.

    Notes
    -----
    Averages over the track and both coordinates, instant exposure. Unknown sigma: the covariance-based estimator
    D = <dx^2>/2 + <dx_n dx_(n+1)>, Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eq. 14.
    Known sigma: D = <dx^2>/2 - sigma^2, which scatters less as long as sigma^2 < 2 D.
    """
    steps = steps_by_track(table)
    unknown = steps["square"] / 2.0 + steps["covariance"]
    if sigma is None:
        return unknown
    sigma = sigma.reindex(steps.index)
    return unknown.where(sigma.isna(), steps["square"] / 2.0 - sigma**2)


def _mean_by(code, values, n) -> np.ndarray:
    return np.bincount(code, values, minlength=n) / np.bincount(code, minlength=n)


def msd(xy: np.ndarray, max_lag: int) -> np.ndarray:
    """Time-averaged mean squared displacement of a 2-D track.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions at successive frames.
    max_lag : int
        Largest lag in frames, below T.

    Returns
    -------
    numpy.ndarray, shape (max_lag,)
        length^2 at lags 1..max_lag.
    """
    return np.array([((xy[lag:] - xy[:-lag]) ** 2).sum(axis=1).mean() for lag in range(1, max_lag + 1)])


def fit_msd(xy: np.ndarray, max_lag: int, sigma: float, floor: float) -> tuple[float, float]:
    """Generalised diffusion coefficient and anomalous exponent from a log-log fit of the MSD.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions at successive frames.
    max_lag : int
        Largest lag, 2 or more; lags of fewer than two pairs of frames are left out.
    sigma : float
        Localisation error; 4 sigma^2 is taken off the MSD.
    floor : float
        length^2; an MSD that is smaller without its noise counts as this much.

    Returns
    -------
    k : float
        length^2/frame^alpha.
    alpha : float
        Slope of the line, not cut to the range of exponents.

    Raises
    ------
    ValueError
        If the track has fewer than 4 frames.

    Notes
    -----
    MSD(lag) = 4 K lag^alpha + 4 sigma^2.
    """
    if len(xy) < 4:
        raise ValueError(f"MSD fit of a track of {len(xy)} frames, expected 4 or more")
    n_lags = min(max_lag, len(xy) - 2)
    values = np.maximum(msd(xy, n_lags) - 4.0 * sigma**2, floor)
    alpha, log_4k = np.polyfit(np.log(np.arange(1, n_lags + 1)), np.log(values), 1)
    return float(np.exp(log_4k) / 4.0), float(alpha)


def step_spectrum(n_steps: int, k, sigma: float) -> np.ndarray:
    """Variance of each sine component of n Brownian steps seen with localisation noise, per coordinate.

    Parameters
    ----------
    n_steps : int
    k : float or (..., 1) array
        Diffusion coefficient, length^2/frame.
    sigma : float
        Localisation error, length.

    Returns
    -------
    numpy.ndarray, shape (..., n_steps)
        Eigenvalues of the covariance of the steps (2K + 2 sigma^2 on its diagonal, -sigma^2 beside it), length^2.
    """
    angle = np.pi * np.arange(1, n_steps + 1) / (n_steps + 1)
    return 2 * np.asarray(k) + 2 * sigma**2 * (1 - np.cos(angle))


def mle(xy: np.ndarray, sigma: float, n_iterations: int = 20) -> float:
    """Diffusion coefficient of largest likelihood of a Brownian track, localisation error known.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions at successive frames, T >= 2.
    sigma : float
        Localisation error, unit of xy.
    n_iterations : int
        Steps of Fisher scoring, each a weighted mean; the last ones change nothing.

    Returns
    -------
    float
        length^2/frame, 0 or more.

    Source: Berglund, Phys. Rev. E 82, 011917 (2010); Michalet & Berglund, Phys. Rev. E 85, 061916 (2012), without
    motion blur. Sine transforms make the steps independent, Vestergaard et al. (2014).
    """
    power = (dst(np.diff(xy, axis=0), type=1, axis=0, norm="ortho") ** 2).mean(axis=1)  # (T - 1,)
    noise = step_spectrum(len(power), 0.0, sigma)
    floor = 1e-9 * max(float(power.mean()), 1e-300)
    k = max(float((power - noise).mean()) / 2, floor)
    for _ in range(n_iterations):
        weight = 1 / (2 * k + noise) ** 2
        k = max(float((weight * (power - noise)).sum() / weight.sum()) / 2, floor)
    return k


def cramer_rao_bound(n_frames: int, k: float, sigma: float) -> float:
    """Smallest relative standard deviation of an unbiased K from a 2-D Brownian track, localisation error known.

    Parameters
    ----------
    n_frames : int
        Positions, 2 or more.
    k : float
        True K, length^2/frame, above 0.
    sigma : float
        Localisation error, length.

    Returns
    -------
    float
        Standard deviation of K over K: 1/sqrt(n_frames - 1) without noise.

    Source: Michalet & Berglund, Phys. Rev. E 85, 061916 (2012), for a known localisation error.
    """
    information = 4 * (1 / step_spectrum(n_frames - 1, k, sigma) ** 2).sum()  # 2 coordinates x 1/2 x (d 2K / dK)^2
    return float(1 / (k * np.sqrt(information)))
