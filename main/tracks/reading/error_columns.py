"""The localisation error of each point, from columns of a file that name it so."""

import numpy as np
import pandas as pd

from main.tracks.options import LOCALIZATION_ERRORS
from main.tracks.reading.columns import LENGTHS, find_length_unit, split_unit
from main.tracks.table import UM_PER_UNIT

ERROR_COLUMNS = (  # in lower case, without units; the first found is taken, in the unit of x unless the name has one
    ("x_err", "y_err"),
    ("x_error", "y_error"),
    ("localization_error",),
    ("localisation_error",),
    ("lpx", "lpy"),  # localisation precision of Picasso
)
SPOT_WIDTH = "it is often the width of the spots"
REFUSED_COLUMNS = {  # in lower case, without units -> why it is not taken for the localisation error
    "sigma": SPOT_WIDTH,
    "sigma_x": SPOT_WIDTH,
    "sigma_y": SPOT_WIDTH,
    "ep": "trackpy's estimate leaves out part of the error and is often several times too small",
}


def take_localization_errors(raw: pd.DataFrame, named, path, unit: str) -> tuple[pd.DataFrame, list[str]]:
    """Put the localisation error of each point into the column sigma.

    x_err and y_err are pooled as the root of their mean square.

    Parameters
    ----------
    raw : pandas.DataFrame
        One row per point.
    named : collection of str
        Columns that hold track_id, frame, x or y.
    path : str or Path
        File, for the warning.
    unit : str
        Unit of x and y.

    Returns
    -------
    raw : pandas.DataFrame
        With a column sigma in the unit of x, NaN where the value is no number in the range of --localization-error;
        without it if no column names the error.
    warnings : list of str
        One sentence if points have no error though there is a column of errors, if its unit cannot be converted, or if
        no column names the error but one looks as if it did.

    Raises
    ------
    InputError
        If brackets in the name of a column of errors hold something else than a known unit.
    """
    spelled = {}
    for name in raw.columns:
        if name not in named:
            spelled.setdefault(split_unit(name, LENGTHS)[0], name)
    kept = raw.drop(columns=[name for name in raw.columns if name == "sigma" and name not in named])
    for names in ERROR_COLUMNS:
        if set(names) <= set(spelled):
            return _pool_errors(kept, [spelled[name] for name in names], path, unit)
    refused = [name for name in REFUSED_COLUMNS if name in spelled]
    if not refused:
        return kept, []
    return kept, [
        f"{path}: column '{spelled[refused[0]]}' is not used, because {REFUSED_COLUMNS[refused[0]]}; if it is the "
        "localisation error, rename it to localization_error, else give --localization-error (a number or estimate)."
    ]


def _pool_errors(raw, columns, path, unit) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with sigma in the unit of x, and how many points have none."""
    shown = " and ".join(f"'{name}'" for name in columns)
    factors = [_convert_unit(find_length_unit(name, path) or unit, unit) for name in columns]
    if None in factors:
        return raw, [
            f"{path}: the localisation error in {shown} is not used, because positions are in {unit}; give "
            f"--localization-error in {unit}."
        ]
    if any(raw[name].dtype == bool for name in columns):
        return raw, [f"{path}: {shown} holds true and false, no localisation error, and is not used."]
    numbers = [
        pd.to_numeric(raw[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan) for name in columns
    ]
    values = np.stack(numbers, axis=1) * factors
    coarse = UM_PER_UNIT.get(unit, 1.0) if UM_PER_UNIT.get(unit, 1.0) > 1 else 1.0  # the range is meant for px, um, nm
    low, high = (end / coarse for end in LOCALIZATION_ERRORS)
    values = np.where((values >= low) & (values <= high), values, np.nan)
    pooled = np.hypot.reduce(values, axis=1) / np.sqrt(len(columns))  # hypot: squares may overflow
    n_unknown = int(np.isnan(pooled).sum())
    warnings = [
        f"{path}: {n_unknown} of {len(raw)} points have no localisation error, because {shown} holds no number from "
        f"{low:g} to {high:g} there."
    ]
    return raw.assign(sigma=pooled), warnings if n_unknown else []


def _convert_unit(source: str, target: str) -> float | None:
    """Return the factor from one length unit to another; None between pixels and others."""
    if source == target:
        return 1.0
    if "px" in (source, target):
        return None
    return UM_PER_UNIT[source] / UM_PER_UNIT[target]
