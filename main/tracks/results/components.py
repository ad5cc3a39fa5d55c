"""Table of the components that the tracks of a sample share (`--adapt sample`), for `kinetics.py` and the report."""

import pandas as pd

QUANTITIES = ("share", "msd_1", "k", "alpha", "dwell")  # each with an interval, _lo and _hi, where it is known


def tabulate_components(record: dict) -> pd.DataFrame:
    """List the components that were used to decode the files of a run.

    Parameters
    ----------
    record : dict
        Contents of run.json.

    Returns
    -------
    pandas.DataFrame
        A row for each component: file (path), state, and with `_lo` and `_hi` (90 % intervals; NaN where unknown) share
        (of the frames, 0 to 1), msd_1 (MSD at one frame, 4 K dt^alpha), k, alpha, dwell (mean stay; s, or frames where
        the frame interval is unknown); log10_k_sd, alpha_sd (spread between particles). Empty if there are none.
    """
    rows = []
    for sample, given in zip(record.get("samples", []), record["inputs"], strict=False):
        interval = given["frame_interval_s"] or 1.0
        for component in sample["components"] if sample["mixture"] else []:
            row = {"file": given["path"]} | component
            row.setdefault("msd_1", 4 * component["k"] * interval ** component["alpha"])
            row |= {
                name: row[name] * interval for name in ("dwell", "dwell_lo", "dwell_hi") if row.get(name) is not None
            }
            rows.append(row)
    values = [name + end for name in QUANTITIES for end in ("", "_lo", "_hi")]
    table = pd.DataFrame(rows).reindex(columns=["file", "state", *values, "log10_k_sd", "alpha_sd"])
    return table.astype(dict.fromkeys(table.columns[2:], float))
