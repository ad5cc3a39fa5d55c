"""Classical estimators: covariance-based D (CVE), maximum likelihood (MLE) and mean squared displacement (MSD).

`blur` is the motion blur coefficient R of Berglund (2010): 0 for instant exposure, 1/6 for a shutter that is open all
the time, s/6 for one that is open for a share s of every frame.
"""

import numpy as np
import pandas as pd
from scipy.fft import dst

MLE_STEPS = 2000  # at most; a few where the steps are seen, hundreds where they are far below the noise


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


def cve(xy: np.ndarray, sigma=None, blur: float = 0.0) -> np.ndarray:
    """Covariance-based estimator of the diffusion coefficient of Brownian tracks; unbiased, blurred or not.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames, T >= 3, or 2 with a known localisation error.
    sigma : float or numpy.ndarray of shape (...), optional
        Localisation error, unit of xy, where it is known.
    blur : float
        Motion blur coefficient, 0 to 1/4; without `sigma` it makes no difference.

    Returns
    -------
    numpy.ndarray, shape (...)
        D, length^2/frame, never cut at 0.

    Source: Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eqs. 14 and 16, mean of both coordinates.
    """
    step = np.diff(xy, axis=-2)
    square = (step**2).mean(axis=(-2, -1))
    if sigma is not None:
        return (square - 2 * sigma**2) / (2 * (1 - 2 * blur))
    return square / 2 + (step[..., :-1, :] * step[..., 1:, :]).mean(axis=(-2, -1))


def msd(xy: np.ndarray, max_lag: int) -> np.ndarray:
    """Time-averaged mean squared displacement of 2-D tracks.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames.
    max_lag : int
        Largest lag in frames, below T.

    Returns
    -------
    numpy.ndarray, shape (..., max_lag)
        length^2 at lags 1..max_lag.
    """
    return np.stack([_squares(xy, lag).mean(axis=-1) for lag in range(1, max_lag + 1)], axis=-1)


def _squares(xy: np.ndarray, lag: int) -> np.ndarray:
    """Squared displacements over a lag, (..., T - lag)."""
    return ((xy[..., lag:, :] - xy[..., :-lag, :]) ** 2).sum(axis=-1)


def ensemble_msd(xy: np.ndarray) -> np.ndarray:
    """Mean squared displacement from the first frame, over tracks (N, T, 2): length^2, shape (T,)."""
    return ((xy - xy[:, :1]) ** 2).sum(axis=-1).mean(axis=0)


def fit_ensemble_msd(xy: np.ndarray, first: int, last: int, sigma: float = 0.0) -> tuple[float, float]:
    """Generalised diffusion coefficient and anomalous exponent of the spread of many tracks from where they began.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions at successive frames, of motion that begins with the track.
    first, last : int
        Frames between which the line is fitted, at ten times in equal ratios; 1 or more, below T.
    sigma : float
        Localisation error; 4 sigma^2 is taken off the MSD.

    Returns
    -------
    k : float
        length^2/frame^alpha.
    alpha : float

    Notes
    -----
    MSD(t) = 4 K t^alpha + 4 sigma^2. It is that of single tracks, averaged over time (`fit_msd`), only if motion does
    not age: the two differ for the continuous-time random walk, annealed transit times and scaled Brownian motion
    (Metzler et al., Phys. Chem. Chem. Phys. 16, 24128, 2014).
    """
    time = np.unique(np.geomspace(first, last, 10).round().astype(int))
    alpha, log_4k = np.polyfit(np.log(time), np.log(ensemble_msd(xy)[time] - 4 * sigma**2), 1)
    return float(np.exp(log_4k) / 4), float(alpha)


def sliding_d(xy: np.ndarray, window: int = 20, max_lag: int = 2) -> np.ndarray:
    """D(t) from a line through the time-averaged MSD at the first lags, in a window that slides along the track.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames.
    window : int
        Frames of a window, more than `max_lag`.
    max_lag : int
        Largest lag of the line, 2 or more; localisation error is in its offset.

    Returns
    -------
    numpy.ndarray, shape (..., T - window + 1)
        A quarter of the slope, length^2/frame; entry i belongs to the middle of frames i to i + window - 1.

    Source: the sliding-window analysis that Requena et al. (2023) compare with.
    """
    lags, n = np.arange(1, max_lag + 1), xy.shape[-2] - window + 1
    values = []
    for lag in lags:
        total = np.cumsum(np.insert(_squares(xy, lag), 0, 0.0, axis=-1), axis=-1)
        values.append((total[..., window - lag : window - lag + n] - total[..., :n]) / (window - lag))
    weight = (lags - lags.mean()) / ((lags - lags.mean()) ** 2).sum()
    return np.tensordot(weight, np.array(values), 1) / 4


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


def step_spectrum(n_steps: int, k, sigma, blur: float = 0.0) -> np.ndarray:
    """Variance of each sine component of n Brownian steps seen with localisation noise, per coordinate.

    Parameters
    ----------
    n_steps : int
    k : float or (..., 1) array
        Diffusion coefficient, length^2/frame.
    sigma : float or (..., 1) array
        Localisation error, length.
    blur : float
        Motion blur coefficient.

    Returns
    -------
    numpy.ndarray, shape (..., n_steps)
        Eigenvalues of the covariance of the steps (2K(1 - 2 blur) + 2 sigma^2 on its diagonal, 2K blur - sigma^2 beside
        it), length^2.
    """
    angle = np.pi * np.arange(1, n_steps + 1) / (n_steps + 1)
    return 2 * np.asarray(k) + 2 * (sigma**2 - 2 * np.asarray(k) * blur) * (1 - np.cos(angle))


def mle(xy: np.ndarray, sigma, blur: float = 0.0):
    """Diffusion coefficient of largest likelihood of Brownian tracks, localisation error known.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames, T >= 2.
    sigma : float, or numpy.ndarray of shape (...)
        Localisation error, unit of xy.
    blur : float
        Motion blur coefficient.

    Returns
    -------
    float, or numpy.ndarray of shape (...)
        length^2/frame, 0 or more.

    Source: Berglund, Phys. Rev. E 82, 011917 (2010); Michalet & Berglund, Phys. Rev. E 85, 061916 (2012). Sine
    transforms make the steps independent, Vestergaard et al. (2014).
    """
    power = (dst(np.diff(xy, axis=-2), type=1, axis=-2, norm="ortho") ** 2).mean(axis=-1)  # (..., T - 1)
    noise = step_spectrum(power.shape[-1], 0.0, np.asarray(sigma)[..., None])
    per_k = step_spectrum(power.shape[-1], 1.0, 0.0, blur)
    floor = 1e-9 * np.maximum(power.mean(axis=-1, keepdims=True), 1e-100)
    k = np.maximum((power - noise).mean(axis=-1, keepdims=True) / per_k.mean(), floor)
    for _ in range(MLE_STEPS):  # of Fisher scoring, each a weighted mean
        last = k
        weight = per_k / (per_k * k + noise) ** 2
        excess, scale = ((weight * v).sum(axis=-1, keepdims=True) for v in (power - noise, per_k))
        k = np.maximum(excess / scale, floor)
        if (np.abs(k - last) <= 1e-6 * last).all():
            break
    return float(k[0]) if xy.ndim == 2 else k[..., 0]


def cramer_rao_bound(n_frames: int, k: float, sigma: float, blur: float = 0.0) -> float:
    """Smallest relative standard deviation of an unbiased K from a 2-D Brownian track, localisation error known.

    Parameters
    ----------
    n_frames : int
        Positions, 2 or more.
    k : float
        True K, length^2/frame, above 0.
    sigma : float
        Localisation error, length.
    blur : float
        Motion blur coefficient.

    Returns
    -------
    float
        Standard deviation of K over K: 1/sqrt(n_frames - 1) without noise and blur.

    Source: Michalet & Berglund, Phys. Rev. E 85, 061916 (2012), for a known localisation error.
    """
    per_k = step_spectrum(n_frames - 1, 1.0, 0.0, blur)
    information = ((per_k / step_spectrum(n_frames - 1, k, sigma, blur)) ** 2).sum()  # 2 coordinates x 1/2
    return float(1 / (k * np.sqrt(information)))
