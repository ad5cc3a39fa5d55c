"""Occupancy, dwell times, rates and diffusion coefficients by likelihood, from positions.

The states are those of a hidden Markov model of Brownian motion (`main.tracks.kinetics.hidden_markov`), not the labels
of the networks. Missed short stays, stays that are cut by the ends of a track and points that could belong to two
states are part of the likelihood.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from main.tracks.kinetics.brownian_states import (
    N_AGES,
    Model,
    ModelFit,
    Positions,
    choose_model,
    compute_scores,
    fit_model,
    make_information,
    unpack,
)
from main.tracks.kinetics.determined import explain_choice, list_warnings
from main.tracks.kinetics.dwells import find_frame_interval
from main.tracks.kinetics.rates import MIN_FILES, Resampled, tabulate_kinetics
from main.tracks.quality.outliers import find_wrong_points
from main.utils.bootstrap import N_RESAMPLES, resample_totals
from main.utils.errors import InputError
from simulations.parameters import LONGEST_GAP

ALL_TRACKS = "all tracks"  # name of the one group where there are no conditions and no files to tell apart
MAX_POINTS = 100_000  # of a group; of more, tracks are drawn at random: dwells are known to 2 % by then
MIN_STEPS = 100  # of a group; fewer do not tell states apart
MAX_SHIFT = 3.0  # of a logarithm or log-odds, in a resample: one Newton step does not reach further
MIN_NOISE = 1e-3  # localisation error over a step; keeps positions without any from infinite likelihoods


@dataclass
class KineticsFit(Resampled):
    """Occupancy, mean dwell times, rates and diffusion coefficients of the states of a model.

    `value` has d (`d_unit`), occupancy (share of the time, 0 to 1), mean_dwell (`time_unit`), rate_to_... (per
    `time_unit`). `n`: tracks for d and occupancy; for mean_dwell and rates, changes of state that are expected in the
    frames of the tracks.

    Parameters
    ----------
    model : Model
    d_unit : str
    scores : dict of Model -> float
        Of all models that were tried; the largest was chosen, see `choose_model`. Empty if the model was given.
    sigma : float or None
        Localisation error that was estimated for tracks without a known one, unit of length of `d_unit`.
    warnings : list of str
        What the data do not determine.
    """

    model: Model
    d_unit: str
    scores: dict = field(default_factory=dict)
    sigma: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, from slow to fast."""
        return self.model.states

    @property
    def model_note(self) -> str:
        """Which model was used, and against which it was chosen."""
        return explain_choice(self)

    def tabulate(self) -> pd.DataFrame:
        """Make a table of all quantities, as returned by `main.tracks.kinetics.rates.tabulate_kinetics`."""
        return tabulate_kinetics(self)

    def list_quantities(self) -> list[tuple[int, str]]:
        """List the pairs of state and quantity that have a meaning: no D of an immobile state, no rate to itself."""
        return [
            (i, name)
            for i, state in enumerate(self.states)
            for name in self.value
            if name != f"rate_to_{state}" and not (name == "d" and self.model.immobile and i == 0)
        ]


def fit_kinetics(
    points: pd.DataFrame, tracks: pd.DataFrame, record: dict, by: str | None = None, pool_intervals: bool = False
) -> dict[str, KineticsFit]:
    """Estimate occupancy, dwell times, rates and diffusion coefficients of every condition, or of every file.

    One model is chosen for all. It takes 1 to 3 s for 20,000 points.

    Parameters
    ----------
    points, tracks : pandas.DataFrame
        Tables of `infer.py`.
    record : dict
        Contents of run.json. "exposure" among its options is the exposure as a share of the frame interval.
    by : {"condition", "file"}, optional
        Column of `points` that groups them. Without it, all tracks are one group, `ALL_TRACKS`.
    pool_intervals : bool
        Whether files of different frame intervals may be in one group; its times are in frames then.

    Returns
    -------
    dict of str -> KineticsFit
        In the order in which groups occur. Groups with fewer than `MIN_STEPS` steps are left out.

    Raises
    ------
    InputError
        If files of different frame intervals are in one group, unless `pool_intervals`.
    """
    labels = np.full(len(points), ALL_TRACKS) if by is None else points[by].to_numpy(dtype=object)
    found, units = {}, []
    for seed, (name, group) in enumerate(points.groupby(labels, sort=False)):
        try:
            frame_interval_s = find_frame_interval(group, record)
        except InputError:
            if not pool_intervals:
                raise
            frame_interval_s = None
        length = record["units"]["d_cve"].split("^")[0]
        d_unit = f"{length}^2/{'s' if frame_interval_s else 'frame'}"
        scale = _find_scales(group, record)
        positions, files, notes = collect_positions(
            group, tracks, scale, record["options"].get("exposure") or 0.0, seed
        )
        if positions is not None:
            found[name] = positions
            units.append((frame_interval_s, d_unit, files, notes, seed))
    if not found:
        return {}
    fits, scores = choose_model(list(found.values()))
    return {
        name: describe_fit(fit, positions, *unit, scores=scores)
        for (name, positions), fit, unit in zip(found.items(), fits, units, strict=True)
    }


def fit_tracks(
    tracks: list[np.ndarray],
    sigma: float | None,
    frame_interval: float | None = None,
    exposure: float = 0.0,
    model: Model | None = None,
    seed: int = 0,
) -> KineticsFit:
    """Estimate occupancy, dwell times, rates and diffusion coefficients from arrays of positions.

    Parameters
    ----------
    tracks : list of (T, 2) array
        Positions, um; rows of nan are missing frames.
    sigma : float or None
        Localisation error per coordinate, um; None if it is not known.
    frame_interval : float, optional
        Seconds.
    exposure : float
        Share of the frame interval.
    model : Model, optional
        One of `brownian_states.MODELS`; chosen if it is not given.
    seed : int
        Of the resamples.

    Raises
    ------
    ValueError
        If there are fewer than `MIN_STEPS` steps.
    """
    seen = [np.isfinite(track).all(axis=1) for track in tracks]
    points = pd.DataFrame(
        np.concatenate([track[kept] for track, kept in zip(tracks, seen, strict=True)]), columns=["x", "y"]
    )
    points["frame"] = np.concatenate([np.flatnonzero(kept) for kept in seen])
    points["track_id"] = np.repeat(np.arange(len(tracks)), [kept.sum() for kept in seen])
    known = np.nan if sigma is None else sigma
    rows = pd.DataFrame({"track_id": np.arange(len(tracks)), "localization_error": known})
    positions, files, notes = collect_positions(points, rows, 1.0, exposure, seed)
    if positions is None:
        raise ValueError(f"The tracks have fewer than {MIN_STEPS} steps.")
    scores = {}
    if model is None:
        (fit,), scores = choose_model([positions])
    else:
        fit = fit_model(model, positions)
    d_unit = "um^2/s" if frame_interval else "um^2/frame"
    return describe_fit(fit, positions, frame_interval, d_unit, files, notes, seed, scores)


def _find_scales(points: pd.DataFrame, record: dict) -> float | np.ndarray:
    """Length of the results per unit of x of each point: 1, or (T,)."""
    scales = {given["path"]: given.get("um_per_unit") or 1.0 for given in record["inputs"]}
    if len(set(scales.values())) == 1 or "file" not in points:
        return next(iter(scales.values()))
    return points["file"].map(scales).to_numpy(float)


def collect_positions(
    points: pd.DataFrame, tracks: pd.DataFrame, scale, exposure: float, seed: int
) -> tuple[Positions | None, np.ndarray, list[str]]:
    """Collect the positions of a group.

    Parameters
    ----------
    points, tracks : pandas.DataFrame
        track_id, frame, x, y; and track_id, localization_error. Points may have a column file.
    scale : float or (T,) array
        Length of the results per unit of x.
    exposure : float
    seed : int
        Of the draw of tracks if there are more than `MAX_POINTS`.

    Returns
    -------
    positions : Positions or None
        None if there are fewer than `MIN_STEPS` steps.
    files : (n_tracks,) array of int
        Number of the file of each track; empty if there is one.
    notes : list of str
        What was left out.
    """
    notes = []
    table = points[["track_id", "frame"]].assign(x=points["x"] * scale, y=points["y"] * scale)
    sigma = points["track_id"].map(tracks.set_index("track_id")["localization_error"])
    table["noise"] = (sigma * scale) ** 2
    table["file"] = points["file"].astype("category").cat.codes if "file" in points else 0
    table = table.sort_values(["track_id", "frame"], kind="stable", ignore_index=True)
    beyond = (table.groupby("track_id").cumcount() >= MAX_POINTS).to_numpy()
    if beyond.any():
        n_long = table.loc[beyond, "track_id"].nunique()
        notes.append(f"Of {n_long} track(s) the first {MAX_POINTS:,} points were used for dwell times and rates.")
        table = table[~beyond].reset_index(drop=True)
    if len(table) > MAX_POINTS:
        ids = np.random.default_rng(seed).permutation(table["track_id"].unique())
        n_points = table.groupby("track_id").size().loc[ids].cumsum()
        kept = n_points.index[: max(1, int((n_points <= MAX_POINTS).sum()))]
        notes.append(f"{len(kept)} of {len(ids)} tracks, drawn at random, were used for dwell times and rates.")
        table = table[table["track_id"].isin(kept)].reset_index(drop=True)
    wrong, jump = find_wrong_points(table)
    if wrong.any():
        notes.append(f"{int(wrong.sum())} points far from the points before and after them were left out.")
        table, jump = table[~wrong].reset_index(drop=True), jump[~wrong]
    track, frames = pd.factorize(table["track_id"])[0], table["frame"].diff().to_numpy()
    joined = np.r_[False, track[1:] == track[:-1]] & (frames <= LONGEST_GAP + 1) & ~jump
    if joined.sum() < MIN_STEPS:
        return None, np.zeros(0, int), notes
    intervals, index = np.unique(frames[joined].astype(int), return_inverse=True)
    interval = np.full(len(table), -1)
    interval[joined] = index
    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    square = 0.5 * (np.diff(x)[joined[1:]] ** 2 + np.diff(y)[joined[1:]] ** 2).mean()
    noise = np.maximum(table["noise"].to_numpy(float), MIN_NOISE**2 * square)  # nan stays nan
    files = table.groupby(track)["file"].first().to_numpy() if table["file"].nunique() > 1 else np.zeros(0, int)
    return Positions(x, y, track, interval, intervals, noise, exposure), files, notes


def describe_fit(
    fit: ModelFit,
    positions: Positions,
    frame_interval_s: float | None,
    d_unit: str,
    files: np.ndarray,
    notes: list[str],
    seed: int,
    scores: dict,
) -> KineticsFit:
    """Turn parameters into quantities with resamples, and list what the data do not determine.

    A resample shifts the parameters by one Newton step, H^-1 sum w g, with the scores g of the tracks (or files), their
    numbers w in the resample, and the information H. Steps are lengthened where there are few scores (MacKinnon and
    White, J. Econometrics 29, 305, 1985).
    """
    point_scores = compute_scores(fit.parameters, fit.model, positions, N_AGES)
    sums = np.zeros((positions.n_tracks, len(fit.parameters)))
    np.add.at(sums, positions.track, point_scores)
    unit = "tracks"
    if len(files) and len(np.unique(files)) >= MIN_FILES:
        unit, per_track = "files", sums
        sums = np.zeros((files.max() + 1, len(fit.parameters)))
        np.add.at(sums, files, per_track)
        sums = sums[np.unique(files)]
    totals = resample_totals(sums, N_RESAMPLES, seed)
    shifts = np.linalg.solve(make_information(point_scores), (totals - sums.sum(axis=0)).T).T
    n, p = sums.shape
    shifts *= np.sqrt((n - 1) / max(n - p, 1))  # n scores at a maximum over p parameters are too small
    drawn = fit.parameters + np.clip(shifts, -MAX_SHIFT, MAX_SHIFT)
    time = frame_interval_s or 1.0
    value = compute_quantities(fit.parameters, fit.model, time)
    each = [compute_quantities(parameters, fit.model, time) for parameters in drawn]
    resampled = {name: np.stack([one[name] for one in each]) for name in value}
    sigma = None
    if positions.estimates_noise:
        sigma = float(np.exp(0.5 * fit.parameters[-1]))
    found = KineticsFit(
        value,
        resampled,
        count_events(fit, positions),
        unit,
        len(sums),
        frame_interval_s,
        fit.model,
        d_unit,
        scores,
        sigma,
        list(notes),
    )
    found.warnings += list_warnings(found, positions)
    return found


def compute_quantities(parameters: np.ndarray, model: Model, frame_interval: float) -> dict[str, np.ndarray]:
    """Compute d, occupancy, mean_dwell and rates from the parameters of a model, times in units of `frame_interval`."""
    variance, occupancy, generator = unpack(parameters, model)
    result = {"d": variance / (2 * frame_interval), "occupancy": occupancy}
    if len(model.states) > 1:
        result["mean_dwell"] = -frame_interval / np.diag(generator)
        rates = (generator - np.diag(np.diag(generator))) / frame_interval
        result |= {f"rate_to_{name}": rates[:, i] for i, name in enumerate(model.states)}
    return result


def count_events(fit: ModelFit, positions: Positions) -> dict[str, np.ndarray]:
    """Count the events behind each quantity, see `KineticsFit`."""
    _, occupancy, generator = unpack(fit.parameters, fit.model)
    frames = positions.intervals[positions.interval[positions.interval >= 0]].sum()
    changes = np.rint(frames * occupancy[:, None] * np.clip(generator, 0, None)).astype(int)
    tracks = np.full(len(occupancy), positions.n_tracks)
    n = {"d": tracks, "occupancy": tracks, "mean_dwell": changes.sum(axis=1)}
    return n | {f"rate_to_{name}": changes[:, i] for i, name in enumerate(fit.model.states)}
