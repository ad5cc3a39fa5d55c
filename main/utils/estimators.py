"""Classical estimators of diffusion: covariance-based (CVE), maximum likelihood (MLE), mean squared displacement (MSD).

Times are in frames and lengths in the unit of the positions, so D and K of Brownian motion have the unit
length^2/frame. In the equations dx is a step of one coordinate, <...> the mean over steps and both coordinates, and
sigma the localisation error per coordinate.

`blur` is the motion blur coefficient R of Berglund, Phys. Rev. E 82, 011917 (2010): 0 for instant exposure, 1/6 for a
shutter that is always open, s/6 for a shutter that is open for a share s of every frame.
"""

import numpy as np
import pandas as pd
from scipy.fft import dst

MLE_MAX_ITERATIONS = 2000  # a few are enough if sigma is below the step, hundreds are needed if it is far above


def find_single_steps(table: pd.DataFrame) -> np.ndarray:
    """Find rows of a track table, (N - 1,) bool, whose next row is the same track in the next frame.

    A step to a row whose column `jump` is true is no motion and does not count; the column is optional.
    """
    single = (np.diff(table["track_id"].to_numpy()) == 0) & (np.diff(table["frame"].to_numpy()) == 1)
    return single & ~table["jump"].to_numpy()[1:] if "jump" in table else single


def steps_by_track(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean square and the covariance of the steps of every track of a table.

    Only steps between successive frames count.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).

    Returns
    -------
    pandas.DataFrame
        Index track_id; per coordinate, length^2: `square` = <dx_n^2>, NaN without two successive frames, and
        `covariance` = <dx_n dx_(n+1)>, NaN without three.
    """
    ids, code = np.unique(table["track_id"].to_numpy(), return_inverse=True)
    dx, dy = np.diff(table["x"].to_numpy()), np.diff(table["y"].to_numpy())
    valid = find_single_steps(table)
    pair = valid[:-1] & valid[1:]
    product = (dx[:-1] * dx[1:] + dy[:-1] * dy[1:]) / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        square = _mean_by(code[:-1][valid], ((dx**2 + dy**2) / 2.0)[valid], len(ids))
        covariance = _mean_by(code[:-2][pair], product[pair], len(ids))
    moments = {"square": square, "covariance": covariance}
    return pd.DataFrame(moments, index=pd.Index(ids, name="track_id"))


def cve_by_track(table: pd.DataFrame, sigma: pd.Series | None = None, blur: float = 0.0) -> pd.Series:
    """Estimate the diffusion coefficient of every track of a table (CVE).

    Unbiased for Brownian motion, also if frames are missing. An unbiased estimate is negative for
    some short tracks with a large localisation error.

    Parameters
    ----------
    table : pandas.DataFrame
        track_id, frame, x, y, sorted by (track_id, frame).
    sigma : pandas.Series, optional
        Localisation error, index track_id, unit of x. NaN where it is unknown; None if it is unknown for all.
    blur : float
        Motion blur coefficient; not used where sigma is unknown.

    Returns
    -------
    pandas.Series
        D in length^2/frame, index track_id; negative values are kept. NaN without three successive frames or, if sigma
        is known, without two.

    Notes
    -----
    Unknown sigma: D = <dx_n^2>/2 + <dx_n dx_(n+1)>. Known sigma: D = (<dx_n^2>/2 - sigma^2) / (1 - 2 blur), which has
    the smaller variance if sigma^2 < 2 D.

    Source: Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eqs. 14 and 16.
    """
    steps = steps_by_track(table)
    unknown = steps["square"] / 2.0 + steps["covariance"]
    if sigma is None:
        return unknown
    sigma = sigma.reindex(steps.index)
    return unknown.where(sigma.isna(), (steps["square"] / 2.0 - sigma**2) / (1.0 - 2.0 * blur))


def _mean_by(code, values, n) -> np.ndarray:
    return np.bincount(code, values, minlength=n) / np.bincount(code, minlength=n)


def cve(xy: np.ndarray, sigma=None, blur: float = 0.0) -> np.ndarray:
    """Estimate the diffusion coefficient of Brownian tracks from the covariance of steps (CVE).

    Unknown sigma: D = <dx_n^2>/2 + <dx_n dx_(n+1)>, unbiased with and without motion blur. Known sigma:
    D = (<dx_n^2> - 2 sigma^2) / (2 (1 - 2 blur)), unbiased if `blur` is right.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames, T >= 3, or 2 with a known localisation error.
    sigma : float or numpy.ndarray of shape (...), optional
        Localisation error, unit of xy; None if it is unknown.
    blur : float
        Motion blur coefficient, 0 to 1/4; not used if sigma is unknown.

    Returns
    -------
    numpy.ndarray, shape (...)
        D in length^2/frame; negative values are kept.

    Source: Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014), eqs. 14 and 16, mean of both coordinates.
    """
    step = np.diff(xy, axis=-2)
    square = (step**2).mean(axis=(-2, -1))
    if sigma is not None:
        return (square - 2 * sigma**2) / (2 * (1 - 2 * blur))
    return square / 2 + (step[..., :-1, :] * step[..., 1:, :]).mean(axis=(-2, -1))


def msd(xy: np.ndarray, max_lag: int) -> np.ndarray:
    """Compute the time-averaged mean squared displacement of 2-D tracks.

    MSD(lag) = mean over t of |r(t + lag) - r(t)|^2. Its expectation for Brownian motion is 4 D lag + 4 sigma^2 (instant
    exposure): localisation error adds a constant.

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
    """Compute the mean over tracks (N, T, 2) of |r(t) - r(0)|^2, in length^2, shape (T,)."""
    return ((xy - xy[:, :1]) ** 2).sum(axis=-1).mean(axis=0)


def fit_ensemble_msd(xy: np.ndarray, first: int, last: int, sigma: float = 0.0) -> tuple[float, float]:
    """Fit the generalised diffusion coefficient and the anomalous exponent to the ensemble MSD of many tracks.

    Fits log MSD(t) = log(4 K) + alpha log t by least squares, with 4 sigma^2 subtracted from the MSD. Biased if sigma
    is wrong: a localisation error that is not subtracted looks like subdiffusion.

    Parameters
    ----------
    xy : numpy.ndarray, shape (N, T, 2)
        Positions at successive frames, of motion that begins with the track.
    first, last : int
        Range of the fit in frames, 1 or more and below T; ten times at equal ratios are used.
    sigma : float
        Localisation error, unit of xy.

    Returns
    -------
    k : float
        length^2/frame^alpha.
    alpha : float

    Notes
    -----
    The ensemble MSD and the time-averaged MSD of single tracks (`fit_msd`) agree only if motion does not age. They
    differ for the continuous-time random walk, annealed transit times and scaled Brownian motion.

    Source: Metzler et al., Phys. Chem. Chem. Phys. 16, 24128 (2014).
    """
    time = np.unique(np.geomspace(first, last, 10).round().astype(int))
    alpha, log_4k = np.polyfit(np.log(time), np.log(ensemble_msd(xy)[time] - 4 * sigma**2), 1)
    return float(np.exp(log_4k) / 4), float(alpha)


def sliding_d(xy: np.ndarray, window: int = 20, max_lag: int = 2) -> np.ndarray:
    """Estimate D(t) by a straight line through the time-averaged MSD, in a window that slides along the track.

    D = slope / 4 of the line through the MSD at the lags 1 to `max_lag`, by least squares without weights. Unbiased for
    Brownian motion with constant D in the window and any localisation error, which changes only the offset of the line.

    Parameters
    ----------
    xy : numpy.ndarray, shape (..., T, 2)
        Positions at successive frames.
    window : int
        Frames of a window, more than `max_lag`.
    max_lag : int
        Largest lag of the line, 2 or more.

    Returns
    -------
    numpy.ndarray, shape (..., T - window + 1)
        D in length^2/frame, may be negative; entry i belongs to the middle of the frames i to i + window - 1.

    Source: the classical method in Requena et al., Biophysical Journal 122, 4360 (2023).
    """
    lags, n = np.arange(1, max_lag + 1), xy.shape[-2] - window + 1
    values = []
    for lag in lags:
        total = np.cumsum(np.insert(_squares(xy, lag), 0, 0.0, axis=-1), axis=-1)
        values.append((total[..., window - lag : window - lag + n] - total[..., :n]) / (window - lag))
    weight = (lags - lags.mean()) / ((lags - lags.mean()) ** 2).sum()
    return np.tensordot(weight, np.array(values), 1) / 4


def fit_msd(xy: np.ndarray, max_lag: int, sigma: float, floor: float) -> tuple[float, float]:
    """Fit the generalised diffusion coefficient and the anomalous exponent to the time-averaged MSD of one track.

    Fits log MSD(lag) = log(4 K) + alpha log lag by least squares, with 4 sigma^2 subtracted from the MSD. Biased for
    short tracks and for a large localisation error: the logarithm of a noisy mean is too small on average.

    Parameters
    ----------
    xy : numpy.ndarray, shape (T, 2)
        Positions at successive frames.
    max_lag : int
        Largest lag in frames, 2 or more; lags with fewer than two pairs of frames are left out.
    sigma : float
        Localisation error, unit of xy.
    floor : float
        length^2; values that are smaller after the subtraction are replaced by it.

    Returns
    -------
    k : float
        length^2/frame^alpha.
    alpha : float
        Slope of the line, not limited to the range 0 to 2.

    Raises
    ------
    ValueError
        If the track has fewer than 4 frames.

    Source: Metzler et al., Phys. Chem. Chem. Phys. 16, 24128 (2014), for MSD(lag) = 4 K lag^alpha + 4 sigma^2.
    """
    if len(xy) < 4:
        raise ValueError(f"MSD fit of a track of {len(xy)} frames, expected 4 or more")
    n_lags = min(max_lag, len(xy) - 2)
    values = np.maximum(msd(xy, n_lags) - 4.0 * sigma**2, floor)
    alpha, log_4k = np.polyfit(np.log(np.arange(1, n_lags + 1)), np.log(values), 1)
    return float(np.exp(log_4k) / 4.0), float(alpha)


def step_spectrum(n_steps: int, k, sigma, blur: float = 0.0) -> np.ndarray:
    """Compute the variance of each sine component of n Brownian steps with localisation error, per coordinate.

    The steps of a coordinate have the covariance matrix with 2 K (1 - 2 blur) + 2 sigma^2 on its diagonal and
    2 K blur - sigma^2 next to it. The sine transform makes them independent, with the eigenvalues of the matrix as
    variances: 2 K + 2 (sigma^2 - 2 K blur) (1 - cos(pi j / (n + 1))), j = 1 ... n.

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
        Variances, length^2.

    Source: Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014).
    """
    angle = np.pi * np.arange(1, n_steps + 1) / (n_steps + 1)
    return 2 * np.asarray(k) + 2 * (sigma**2 - 2 * np.asarray(k) * blur) * (1 - np.cos(angle))


def mle(xy: np.ndarray, sigma, blur: float = 0.0):
    """Estimate the diffusion coefficient of Brownian tracks by maximum likelihood, localisation error known (MLE).

    Maximises log L = -(sum over j of log v_j + p_j / v_j). Here p_j is the squared sine component j of the steps, mean
    of both coordinates, and v_j its variance (`step_spectrum`). Nearly unbiased for long tracks, with a variance close
    to the Cramer-Rao bound. Biased towards larger values if D is small compared with sigma^2, because D cannot be
    negative.

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
        D in length^2/frame, 0 or more.

    Source: Berglund, Phys. Rev. E 82, 011917 (2010); Michalet & Berglund, Phys. Rev. E 85, 061916 (2012). The sine
    transform is that of Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89, 022726 (2014).
    """
    power = (dst(np.diff(xy, axis=-2), type=1, axis=-2, norm="ortho") ** 2).mean(axis=-1)  # (..., T - 1)
    noise = step_spectrum(power.shape[-1], 0.0, np.asarray(sigma)[..., None])
    per_k = step_spectrum(power.shape[-1], 1.0, 0.0, blur)
    floor = 1e-9 * np.maximum(power.mean(axis=-1, keepdims=True), 1e-100)
    k = np.maximum((power - noise).mean(axis=-1, keepdims=True) / per_k.mean(), floor)
    for _ in range(MLE_MAX_ITERATIONS):  # Fisher scoring: each iteration is a weighted mean
        last = k
        weight = per_k / (per_k * k + noise) ** 2
        excess, scale = ((weight * v).sum(axis=-1, keepdims=True) for v in (power - noise, per_k))
        k = np.maximum(excess / scale, floor)
        if (np.abs(k - last) <= 1e-6 * last).all():
            break
    return float(k[0]) if xy.ndim == 2 else k[..., 0]


def cramer_rao_bound(n_frames: int, k: float, sigma: float, blur: float = 0.0) -> float:
    """Compute the Cramer-Rao bound: the smallest relative standard deviation of K that an unbiased estimator can have.

    For one 2-D Brownian track with known localisation error: 1 / sqrt(sum over j of (K dv_j/dK / v_j)^2), where v_j are
    the variances of `step_spectrum`. Without localisation error and blur it is 1 / sqrt(n_frames - 1).

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
        Standard deviation of K divided by K; no unit.

    Source: Michalet & Berglund, Phys. Rev. E 85, 061916 (2012), for a known localisation error.
    """
    per_k = step_spectrum(n_frames - 1, 1.0, 0.0, blur)
    information = ((per_k / step_spectrum(n_frames - 1, k, sigma, blur)) ** 2).sum()  # 2 coordinates x 1/2
    return float(1 / (k * np.sqrt(information)))
