"""Whether the analysed tracks stand for those that were left out: sums over blocks, errors, warnings."""

import numpy as np
import pandas as pd
import pytest

from main.tracks.pipeline import infer_files
from main.tracks.reading import sources
from main.tracks.results.left_out import PartSums, describe_left_out, list_left_out, summarize_sums, warn_of_left_out

UNIT = "um^2/s"
MIN_LENGTH = 20


def make_rows(rng, n_tracks, d_long, d_short):
    """A table of tracks of 3 to 60 points; d_cve scatters as that of Brownian tracks does."""
    n = rng.integers(3, 61, n_tracks)
    true = np.where(n >= MIN_LENGTH, d_long, d_short)
    d = true * (1 + rng.normal(size=n_tracks) * np.sqrt(2 / n))
    return pd.DataFrame({"n_frames": n, "n_gaps": 0, "n_segments": (n >= MIN_LENGTH).astype(int), "d_cve": d})


def add_up(*blocks):
    sums = PartSums()
    for rows in blocks:
        sums.add(rows, int(rows["n_frames"][rows["n_segments"] > 0].sum()))
    return sums


def summarize(*blocks):
    return summarize_sums(add_up(*blocks).sums)


def test_blocks_add_up():
    rows = make_rows(np.random.default_rng(1), 300, 1.0, 3.0)
    whole, parts = summarize(rows), summarize(rows[:100], rows[100:101], rows[101:])
    assert whole["tracks_used"] + whole["tracks_left_out"] == 300
    assert whole["points_used"] + whole["points_left_out"] == rows["n_frames"].sum()
    assert parts.pop("reasons") == whole.pop("reasons") == ["d_cve_differs"]
    assert whole == pytest.approx(parts)
    used = rows[rows["n_segments"] > 0]
    assert whole["d_cve_used"] == pytest.approx(np.average(used["d_cve"], weights=used["n_frames"] - 1))


def test_interval_is_that_of_a_bootstrap_over_tracks():
    rng = np.random.default_rng(2)
    rows = make_rows(rng, 400, 1.0, 1.0).assign(n_segments=1)
    rows["d_cve"] *= rng.choice([0.2, 3.0], len(rows))  # particles differ
    summary = summarize(rows)
    d, w = rows["d_cve"].to_numpy(), rows["n_frames"].to_numpy() - 1
    chosen = rng.integers(0, len(rows), (2000, len(rows)))
    low, high = np.quantile((d * w)[chosen].sum(axis=1) / w[chosen].sum(axis=1), [0.05, 0.95])
    width = summary["d_cve_used_hi"] - summary["d_cve_used_lo"]
    assert width == pytest.approx(high - low, rel=0.08)


def test_tracks_that_move_alike_give_no_warning():
    rng = np.random.default_rng(3)
    reasons = [summarize(make_rows(rng, 60, 1.0, 1.0))["reasons"] for _ in range(400)]
    assert sum(map(bool, reasons)) <= 12  # 1 % are expected; more than 12 of 400 have a chance of 1e-4


def test_conditions_are_told_apart_and_files_are_counted():
    rng = np.random.default_rng(4)
    alike, differ = make_rows(rng, 200, 1.0, 1.0), make_rows(rng, 200, 1.0, 5.0)
    few = differ.assign(n_segments=(differ["n_frames"] > 55).astype(int))
    entries = list_left_out({("a.csv", "wt"): add_up(alike), ("b.csv", "mutant"): add_up(few)})
    assert [(e["file"], e["condition"]) for e in entries] == [
        ("a.csv", "wt"),
        ("b.csv", "mutant"),
        (None, "wt"),
        (None, "mutant"),
        (None, None),
    ]
    told = describe_left_out({"left_out": entries, "units": {"d_cve": UNIT}})
    assert set(told) == {"mutant"} and "of the 6," in told["mutant"] and UNIT in told["mutant"]
    assert warn_of_left_out(entries, UNIT) == [f"mutant: {told['mutant']}"]
    files = list_left_out({("a.csv", None): add_up(alike), ("b.csv", None): add_up(few)})
    (warning,) = warn_of_left_out(files, UNIT)
    assert warning.startswith("1 of 2 files: ")


def test_nothing_analysed_or_nothing_known_is_said():
    rows = make_rows(np.random.default_rng(5), 50, 1.0, 1.0)
    none = list_left_out({("a.csv", None): add_up(rows.assign(n_segments=0))})
    (warning,) = warn_of_left_out(none, UNIT)
    assert warning.startswith("0.0 % of the") and warning.endswith("were analysed.")
    unknown = rows.assign(d_cve=rows["d_cve"].where(rows["n_frames"] > 55), n_segments=(rows["n_frames"] > 55) * 1)
    (warning,) = warn_of_left_out(list_left_out({("a.csv", None): add_up(unknown)}), UNIT)
    assert warning.endswith("too short to know whether they move alike.")
    assert warn_of_left_out(list_left_out({("a.csv", None): add_up(rows.assign(n_segments=1))}), UNIT) == []


def test_a_run_says_what_it_left_out_whatever_the_blocks(walks, weights, tmp_path, monkeypatch):
    table = pd.read_csv(walks)
    short = table[table["track_id"] < 5]
    files = {"long": tmp_path / "long.csv", "short": tmp_path / "short.csv"}
    table[table["track_id"] >= 5].to_csv(files["long"], index=False)
    pd.concat([short.assign(track_id=10 * i + short["track_id"]) for i in range(4)]).to_csv(files["short"], index=False)
    whole = infer_files(files, tmp_path / "whole", weights=weights, pixel_size=0.1, frame_interval=0.02)
    monkeypatch.setitem(sources.BLOCK_POINTS, "cpu", 30)
    blocks = infer_files(files, tmp_path / "blocks", weights=weights, pixel_size=0.1, frame_interval=0.02, device="cpu")
    assert len(whole.record["left_out"]) == 5
    pd.testing.assert_frame_equal(*(pd.DataFrame(run.record["left_out"]) for run in (whole, blocks)))
    total = whole.record["left_out"][-1]
    assert total["points_used"] + total["points_left_out"] == whole.record["counts"]["points"]
    assert total["tracks_used"] == whole.record["counts"]["analysed"] == 2 + 4
    (warning,) = whole.record["warnings"]  # of the short tracks: 80 of 180 points are used
    assert warning.startswith("short: 44.4 % of the 180 points (in 4 of 20 tracks) were analysed")
    assert UNIT in warning
