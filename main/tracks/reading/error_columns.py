"""The localisation error of each point, from columns of a file that name it so."""

import numpy as np
import pandas as pd

ERROR_COLUMNS = (  # in lower case, the first found is taken; in the unit of x
    ("x_err", "y_err"),
    ("x_error", "y_error"),
    ("localization_error",),
    ("localisation_error",),
    ("lpx", "lpy"),  # localisation precision of Picasso
)
SPOT_WIDTH = "it is often the width of the spots"
REFUSED_COLUMNS = {  # in lower case -> why it is not taken for the localisation error
    "sigma": SPOT_WIDTH,
    "sigma_x": SPOT_WIDTH,
    "sigma_y": SPOT_WIDTH,
    "ep": "trackpy's estimate leaves out part of the error and is often several times too small",
}


def take_localization_errors(raw: pd.DataFrame, named, path) -> tuple[pd.DataFrame, list[str]]:
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

    Returns
    -------
    raw : pandas.DataFrame
        With a column sigma in the unit of x, NaN where the value is not finite or not positive; without it if no column
        names the error.
    warnings : list of str
        One sentence if no column names the error but one looks as if it did.
    """
    spelled = {str(name).lower(): name for name in reversed(raw.columns) if name not in named}
    kept = raw.drop(columns=[name for name in raw.columns if name == "sigma" and name not in named])
    for names in ERROR_COLUMNS:
        if set(names) <= set(spelled):
            columns = [spelled[name] for name in names]
            values = raw[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
            values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            pooled = np.hypot.reduce(values, axis=1) / np.sqrt(len(names))  # hypot: squares may overflow
            return kept.assign(sigma=pooled), []
    refused = [name for name in REFUSED_COLUMNS if name in spelled]
    if not refused:
        return kept, []
    return kept, [
        f"{path}: column '{spelled[refused[0]]}' is not used, because {REFUSED_COLUMNS[refused[0]]}; if it is the "
        "localisation error, rename it to localization_error, else give --localization-error (a number or estimate)."
    ]
