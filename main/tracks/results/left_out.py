"""Whether the tracks that were analysed stand for those that were left out, by number of points and by diffusion.

Long tracks are those of slow molecules where fast ones leave the focus, so that the results of the tracks above a
minimal length can say little about the sample. Sums over tracks are kept, which blocks of tracks add up to.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import t as student

MIN_POINTS_USED = 0.5  # share of the points; below it the analysed tracks are a minority whatever they do
DIFFERENCE_QUANTILE = 0.995  # two-sided test at 1 %: a warning in 1 of 100 files whose tracks are all alike
INTERVAL_QUANTILE = 0.95  # intervals of 90 %
ALL_TRACKS = "all tracks"  # name of the one group where there are no conditions and no files to tell apart
PARTS = ("used", "left_out")  # rows of the sums
# Sums over the tracks of a part: numbers of tracks and points; then, over tracks of known d_cve, with w steps of D = d:
# their number, w, w d, w^2, w^2 d, w^2 d^2
N_SUMS = 8


@dataclass
class PartSums:
    """Sums over the tracks that were used and over those left out; (2, N_SUMS) in the order of `PARTS`."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros((len(PARTS), N_SUMS)))

    def add(self, tracks: pd.DataFrame, points_used: int) -> None:
        """Add tracks.

        Parameters
        ----------
        tracks : pandas.DataFrame
            Table of tracks.
        points_used : int
            Rows of the table of points. Pieces of a used track that are too short to be analysed are left out.
        """
        used = (tracks["n_segments"] > 0).to_numpy()
        d = tracks["d_cve"].to_numpy()
        steps = (tracks["n_frames"] - 1 - tracks["n_gaps"]).to_numpy()  # between successive frames
        w, known = steps.astype(float), np.isfinite(d) & (steps > 0)
        d = np.where(known, d, 0.0)
        terms = known * np.stack([np.ones_like(w), w, w * d, w**2, w**2 * d, (w * d) ** 2])
        for part, chosen in enumerate((used, ~used)):
            self.sums[part] += [chosen.sum(), 0, *terms[:, chosen].sum(axis=1)]
        self.sums[:, 1] += [points_used, tracks["n_frames"].sum() - points_used]


def list_left_out(sums: dict[tuple[str, str | None], PartSums]) -> list[dict]:
    """List the summaries for run.json: of every file and condition, where there are several, and of all tracks.

    Parameters
    ----------
    sums : dict of (path, condition) -> PartSums

    Returns
    -------
    list of dict
        As returned by `summarize_sums`, with file and condition; both are None in the last one, of all tracks.
    """
    conditions = [name for name in dict.fromkeys(condition for _, condition in sums) if name is not None]
    groups = [(path, condition) for path, condition in sums] * (len(sums) > 1)
    groups += [(None, name) for name in conditions] + [(None, None)] * bool(sums)
    return [
        {"file": file, "condition": condition}
        | summarize_sums(
            sum(s.sums for key, s in sums.items() if file in (None, key[0]) and condition in (None, key[1]))
        )
        for file, condition in groups
    ]


def summarize_sums(sums: np.ndarray) -> dict:
    """Summarise the sums of one group of tracks.

    D of a part is the mean of `d_cve` over its tracks, weighted by steps. Its error is taken from the scatter between
    tracks: that of a ratio of two sums over tracks, to first order, which a bootstrap over tracks agrees with.

    Parameters
    ----------
    sums : numpy.ndarray, shape (2, N_SUMS)
        Rows of `PartSums`: analysed, left out.

    Returns
    -------
    dict
        Numbers of tracks and points `_used` and `_left_out`; d_cve of both (result units, None if it is unknown) with
        90 % intervals `_lo`, `_hi`; reasons why the used tracks are doubtful: "few_points", "d_cve_differs".

    Source: Cochran, Sampling Techniques, 3rd ed. (1977), section 2.11 (ratio of two sums).
    """
    entry = {}
    for i, quantity in enumerate(("tracks", "points")):
        entry |= {f"{quantity}_{part}": int(n) for part, n in zip(PARTS, sums[:, i], strict=True)}
    estimates = []
    for part, (n, w, wd, ww, wwd, wwdd) in zip(PARTS, sums[:, 2:].tolist(), strict=True):
        d = wd / w if n else np.nan
        squares = max(wwdd - 2 * d * wwd + d**2 * ww, 0.0)  # of w (d of the track - d); rounding can make it negative
        error = np.sqrt(n / (n - 1) * squares) / w if n > 1 else np.nan
        reach = error * student.ppf(INTERVAL_QUANTILE, max(n - 1, 1))
        ends = {"": d, "_lo": d - reach, "_hi": d + reach}
        entry |= {f"d_cve_{part}{end}": float(v) if np.isfinite(v) else None for end, v in ends.items()}
        estimates.append((d, error, n))
    (d, error, n), (other, other_error, n_other) = estimates
    reach = np.hypot(error, other_error) * student.ppf(DIFFERENCE_QUANTILE, max(min(n, n_other) - 1, 1))
    few = sums[0, 1] < MIN_POINTS_USED * sums[:, 1].sum()
    return entry | {"reasons": ["few_points"] * bool(few) + ["d_cve_differs"] * bool(abs(d - other) > reach)}


def describe_left_out(record: dict) -> dict[str, str]:
    """Say of each condition, or file, whose analysed tracks do not stand for the rest what the numbers are.

    Parameters
    ----------
    record : dict
        Contents of run.json.

    Returns
    -------
    dict of str -> str
        Condition, else path of the file, else "all tracks" -> one sentence. Empty if there is nothing to say.
    """
    entries, unit = record.get("left_out", []), record["units"]["d_cve"]
    of_conditions = {e["condition"]: e for e in entries if e["file"] is None and e["condition"] is not None}
    of_files = {e["file"]: e for e in entries if e["file"] is not None}
    groups = of_conditions or of_files
    if entries and not groups:
        groups = {ALL_TRACKS: entries[-1]}
    return {name: describe_group(entry, unit) for name, entry in groups.items() if entry["reasons"]}


def warn_of_left_out(entries: list[dict], unit: str) -> list[str]:
    """Make the warnings of a run: one for each condition that needs one, else one for all tracks.

    Parameters
    ----------
    entries : list of dict
        As returned by `list_left_out`.
    unit : str
        Of `d_cve`.
    """
    told = describe_left_out({"left_out": entries, "units": {"d_cve": unit}})
    if not told or any(entry["condition"] is not None for entry in entries):
        return [f"{name}: {text}" for name, text in told.items()]
    n_files = sum(entry["file"] is not None for entry in entries)
    some = f"{len(told)} of {n_files} files: " if n_files else ""
    return [f"{some}{describe_group(entries[-1], unit)}"]


def describe_group(entry: dict, unit: str) -> str:
    """Say in one sentence what was used and left out; `entry` as returned by `summarize_sums`."""
    n_points, n_tracks = (sum(entry[f"{quantity}_{part}"] for part in PARTS) for quantity in ("points", "tracks"))
    text = (
        f"{100 * entry['points_used'] / n_points:.1f} % of the {n_points:,} points (in {entry['tracks_used']:,} of "
        f"{n_tracks:,} tracks) were analysed"
    )
    if entry["tracks_used"] == 0:
        return f"{text}."
    if entry["d_cve_left_out"] is None or entry["d_cve_used"] is None:
        return f"{text}; the tracks left out are too short to know whether they move alike."
    used, left_out = (_format_d(entry, part, unit) for part in PARTS)
    if "d_cve_differs" not in entry["reasons"]:
        return f"{text}; their classical D is {used}, that of the tracks left out {left_out}."
    return (
        f"{text}, and their classical D of {used} differs from that of the tracks left out, {left_out}: results hold "
        "for the analysed tracks only (fast molecules, for example, leave the focus early)."
    )


def _format_d(entry: dict, part: str, unit: str) -> str:
    low, high = entry[f"d_cve_{part}_lo"], entry[f"d_cve_{part}_hi"]
    interval = f" (90 % interval {low:.3g} to {high:.3g})" if low is not None else ""
    return f"{entry[f'd_cve_{part}']:.3g} {unit}{interval}"
