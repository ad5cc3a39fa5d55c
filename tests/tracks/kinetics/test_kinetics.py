"""Tables, comparisons and curves of labelled stays; the command `kinetics.py` on folders of results."""

import json

import numpy as np
import pandas as pd
import pytest
from known_tracks import STEP, localise, make_table, switching

from main import kinetics as command
from main.tracks.kinetics.distributions import count_motion, share_trapped
from main.tracks.kinetics.dwells import MIN_DWELL_FRAMES, estimate_survival, find_dwells, find_frame_interval
from main.tracks.kinetics.rates import (
    MIN_FILES,
    compare_conditions,
    compare_estimates,
    compute_motion_means,
    compute_shares,
    estimate_groups,
    estimate_kinetics,
    sum_frames,
    sum_motion,
    tabulate_kinetics,
)
from main.utils.bootstrap import bootstrap_interval
from main.utils.errors import InputError

UNITS = {"d_cve": "um^2/s", "msd_1": "um^2", "k": "um^2/s^alpha"}


def record(interval):
    inputs = [
        {"path": f"{file}.csv", "frame_interval_s": interval, "condition": name, "um_per_unit": 1.0}
        for file, name in (("a", "wt"), ("b", "mutant"))
    ]
    return {"inputs": inputs, "code_version": "0", "counts": {}, "units": UNITS, "options": {}}


def table_of(rows):
    names = ["track_id", "frame_start", "frame_end", "state", "left_censored", "right_censored"]
    table = pd.DataFrame(rows, columns=names)
    moves = (table["state"] > 0).astype(float)
    frames = table["frame_end"] - table["frame_start"] + 1
    return table.assign(n_frames=frames, k=0.5 * moves, alpha=moves, msd_1=2.0 * moves)


def telegraph(rates, n_tracks, n_frames, seed):
    """Segments of tracks that switch between trapped (0) and free (2); `rates` (per frame) are those of leaving each.

    Stays shorter than 3 frames are not seen, at the ends of a track neither: they become part of their neighbours.
    """
    rng, rows = np.random.default_rng(seed), []
    for track in range(n_tracks):
        state = 2 * int(rng.random() < rates[0] / sum(rates))  # in equilibrium
        time, labels = 0.0, np.empty(n_frames, int)
        while time < n_frames:
            end = time + rng.exponential(1 / rates[state // 2])
            labels[int(np.ceil(time)) : int(np.ceil(end))] = state
            time, state = end, 2 - state
        edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), n_frames]
        seen = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if b - a >= MIN_DWELL_FRAMES]
        if not seen:
            continue
        seen[0], seen[-1] = (0, seen[0][1]), (seen[-1][0], n_frames)
        merged = []
        for a, b in seen:
            if merged and merged[-1][2] == labels[a]:
                merged[-1] = (merged[-1][0], b, labels[a])
            else:
                merged.append((a, b, labels[a]))
        for i, (a, _, s) in enumerate(merged):
            end = merged[i + 1][0] if i + 1 < len(merged) else n_frames
            rows.append((track, a, end - 1, s, i == 0, i + 1 == len(merged)))
    return table_of(rows)


def test_neighbours_of_one_state_are_one_dwell():
    segments = table_of(
        [
            (5, 10, 19, 2, True, False),
            (5, 20, 29, 2, False, False),
            (5, 30, 39, 0, False, True),  # one piece
            (5, 60, 69, 0, True, True),  # after a long gap
            (3, 0, 9, 1, True, False),
            (3, 10, 29, 3, False, False),
            (3, 30, 34, 1, False, True),
        ]
    )
    table = find_dwells(segments)
    assert table["track_id"].tolist() == [3, 3, 3, 5, 5, 5]
    assert table["state"].tolist() == [1, 3, 1, 2, 0, 0]
    assert table["frames"].tolist() == [10, 20, 5, 20, 10, 10]
    assert table["start_seen"].tolist() == [False, True, True, False, True, False]
    assert table["end_seen"].tolist() == [True, True, False, True, False, False]
    assert table["next_state"].tolist() == [3, 1, -1, 0, -1, -1]
    found = compute_shares(sum_frames(segments).sum(0))
    assert found["labelled_share_frames"] == pytest.approx(np.array([20, 15, 20, 20]) / 75)
    assert found["labelled_share_tracks"] == pytest.approx([0.25, 15 / 70, 0.25, 20 / 70])


@pytest.mark.parametrize("mean", [10.0, 25.0])
def test_a_known_exponential_comes_back_from_tracks_of_100_frames(mean):
    """Many dwells are censored. Stays in the other state are long, so that few are too short to be seen."""
    table = find_dwells(telegraph((1 / 200, 1 / mean), 40_000, 100, seed=int(mean)))
    assert 0.1 < (~table["end_seen"]).mean()
    curve = estimate_survival(table, 2)
    at = np.array([10, 20, 40])
    found = np.interp(at, curve["frames"], curve["survival"])
    expected = np.exp(-(at - MIN_DWELL_FRAMES + 1) / mean)
    assert np.abs(found - expected).max() < 0.03
    low, high = (np.interp(at, curve["frames"], curve[end]) for end in ("low", "high"))
    assert (low < found).all() and (found < high).all()


def test_intervals_shrink_with_more_tracks():
    segments = telegraph((1 / 40, 1 / 25), 400, 100, seed=3)
    many, few = (
        tabulate_kinetics(estimate_kinetics(table, 0.02, 200)).set_index(["state", "quantity"])
        for table in (segments, segments[segments["track_id"] < 60])
    )
    shares = [many.loc[(state, "labelled_share_frames"), "value"] for state in ("trapped", "free")]
    assert sum(shares) == pytest.approx(1) and shares[1] == pytest.approx(25 / 65, abs=0.06)
    width = [t.loc[("free", "labelled_share_frames")][["low", "high"]].diff().iloc[1] for t in (many, few)]
    assert width[1] > 1.5 * width[0] > 0


def test_states_that_were_not_seen_are_nan():
    one = table_of([(0, 0, 49, 2, True, True)])
    table = tabulate_kinetics(estimate_kinetics(one, 1.0, 20)).set_index(["state", "quantity"])
    assert table.loc[("free", "labelled_share_frames"), "value"] == 1
    assert np.isnan(table.loc[("confined", "msd_1_frames"), "value"])
    assert estimate_survival(find_dwells(one), 2).empty


def write_folder(folder, segments, interval=0.02, dwells=(0.6, 0.6), **changes):
    """A folder of results: segments as given, and points of the same tracks that switch between free and immobile."""
    folder.mkdir(exist_ok=True)
    ids = segments["track_id"].unique()
    rng = np.random.default_rng(0)
    tracks = localise(switching(len(ids), 100, dwells, rng)[0], 0.2 * STEP, rng)
    points = make_table(tracks).rename(columns={"x_um": "x", "y_um": "y"})
    points["track_id"] = ids[points["track_id"]]
    columns = [name for name in ("file", "condition") if name in segments]
    points = points.merge(segments.drop_duplicates("track_id")[["track_id", *columns]], on="track_id")
    segments.to_parquet(folder / "segments.parquet")
    points.to_parquet(folder / "points.parquet")
    pd.DataFrame({"track_id": ids, "localization_error": 0.2 * STEP}).to_parquet(folder / "tracks.parquet")
    (folder / "run.json").write_text(json.dumps(record(interval) | changes))


def test_command_on_results(tmp_path, capsys):
    segments = telegraph((1 / 40, 1 / 25), 30, 100, seed=4)
    other = segments.assign(track_id=segments["track_id"] + 30)
    pooled = pd.concat([segments.assign(file="a.csv"), other.assign(file="b.csv")])
    for name, table in (("one", segments), ("two", pooled)):
        write_folder(tmp_path / name, table)
        assert command.main([str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        assert "mean_dwell" in out and "Times are in s, rates are per s" in out
        assert "hidden Markov model of 2 states (immobile, mobile)" in out and "not a bound fraction" in out
    one, two = (pd.read_csv(tmp_path / name / "kinetics.csv") for name in ("one", "two"))
    assert set(two["file"]) == {"a.csv", "b.csv"} and len(two) == 2 * len(one)
    for name in ("one/figures/dwell_times.svg", "two/figures/dwell_times_1.svg", "two/figures/distributions.svg"):
        assert (tmp_path / name).is_file()
    rows = one.set_index(["source", "state", "quantity"])
    for state in ("immobile", "mobile"):
        dwell = rows.loc[("likelihood", state, "mean_dwell")]
        assert dwell["low"] < 0.6 * 1.1 and dwell["high"] > 0.6 / 1.1
    assert ("labels", "trapped", "labelled_share_frames") in rows.index and one["source"].iloc[0] == "likelihood"
    assert not one.loc[one["source"] == "labels", "quantity"].str.contains("dwell|rate|occupancy").any()
    assert command.main([str(tmp_path)]) == 2 and "has no run.json" in capsys.readouterr().err
    segments.iloc[:0].to_parquet(tmp_path / "one" / "segments.parquet")
    (tmp_path / "one" / "kinetics.csv").unlink()
    assert command.main([str(tmp_path / "one")]) == 2 and "long enough" in capsys.readouterr().err
    assert not (tmp_path / "one" / "kinetics.csv").exists()


def test_command_warns_of_what_is_not_determined(tmp_path, capsys):
    segments = telegraph((1 / 40, 1 / 25), 30, 100, seed=4)
    write_folder(tmp_path, segments.assign(alpha=0.5 * segments["alpha"]), dwells=(6.0, 6.0))
    assert command.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert any(line.startswith("WARNING") and "not Brownian" in line for line in out)
    assert any(line.startswith("WARNING") and "longer than the tracks" in line for line in out)


def test_motion_is_weighted_by_frames_or_by_tracks():
    segments = table_of([(0, 0, 29, 2, True, False), (0, 30, 39, 0, False, True), (1, 0, 9, 2, True, True)])
    segments["alpha"], segments["k"], segments["msd_1"] = [1.0, 0, 0.5], [1.0, 0, 100], [4.0, 0, 400]
    found = {name: value[2] for name, value in compute_motion_means(sum_motion(segments).sum(0)).items()}
    assert found["alpha_frames"] == pytest.approx((30 * 1 + 10 * 0.5) / 40)
    assert found["alpha_tracks"] == pytest.approx((0.75 * 1 + 1 * 0.5) / 1.75)
    assert found["k_frames"] == pytest.approx(100 ** (10 / 40))
    assert found["k_tracks"] == pytest.approx(100 ** (1 / 1.75))
    assert found["msd_1_frames"] == pytest.approx(4 * found["k_frames"])
    rows = tabulate_kinetics(estimate_kinetics(segments, 1.0, 20)).set_index(["state", "quantity"])
    assert ("trapped", "k_frames") not in rows.index and np.isnan(rows.loc[("free", "k_frames"), "low"])  # 2 segments


def test_conditions_differ_as_they_were_made_to():
    """Trapped dwells last twice as long in the second: the share of trapped frames grows from 20 / 45 to 40 / 65."""
    wild, mutant = (
        estimate_kinetics(telegraph((1 / mean, 1 / 25), 1500, 100, seed=i), 0.02, 200, seed=i)
        for i, mean in enumerate((20, 40))
    )
    table = compare_estimates(wild, mutant).set_index(["state", "quantity"])
    bound = table.loc[("trapped", "labelled_share_frames")]
    assert bound["ratio"] == pytest.approx((40 / 65) / (20 / 45), rel=0.1) and bound["ratio_low"] > 1
    assert bound["difference"] == pytest.approx(bound["value"] - bound["value_reference"])
    assert table.loc[("free", "alpha_frames"), "ratio"] == 1


def test_files_are_drawn_where_there_are_enough():
    """If recordings differ, intervals from resampling files are wider than those from resampling tracks."""
    parts = [
        telegraph((1 / mean, 1 / 25), 60, 100, seed=i).assign(file=f"{i}.csv")
        for i, mean in enumerate((10, 20, 40, 80, 160, 320))
    ]
    pooled = pd.concat([part.assign(track_id=part["track_id"] + 60 * i) for i, part in enumerate(parts)])
    by_file, by_track = (estimate_kinetics(table, n_resamples=200) for table in (pooled, pooled.drop(columns="file")))
    assert (by_file.resampled_unit, by_track.resampled_unit) == ("files", "tracks") and MIN_FILES == 5
    width = [
        np.ptp(np.quantile(one.resampled["labelled_share_frames"][:, 0], [0.05, 0.95])) for one in (by_file, by_track)
    ]
    assert width[0] > 1.5 * width[1]
    assert by_file.value["k_frames"] == pytest.approx(by_track.value["k_frames"], nan_ok=True)


def test_command_compares_conditions(tmp_path, capsys):
    wild, mutant = (telegraph((1 / mean, 1 / 25), 30, 100, seed=mean) for mean in (20, 60))
    mutant["track_id"] += 30
    both = pd.concat([wild.assign(condition="wt"), mutant.assign(condition="mutant")])
    write_folder(tmp_path, both, interval=None)
    assert command.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Compared with wt" in out and "do not include the differences between recordings" in out
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert set(table["condition"]) == {"mutant"} and (table["resampled"] == "tracks").all()
    assert set(table["source"]) == {"likelihood", "labels"} and "Times are in frames" in out
    assert set(pd.read_csv(tmp_path / "kinetics.csv")["condition"]) == {"wt", "mutant"}


def test_intervals_of_few_hold_as_often_as_they_say():
    """Plain percentiles of five draws hold the truth three times in four."""
    rng, held, plain = np.random.default_rng(0), [], []
    for _ in range(600):
        values = rng.normal(1.0, 0.3, 5)
        resampled = values[rng.integers(5, size=(400, 5))].mean(axis=1)
        low, high = bootstrap_interval(values.mean(), resampled, 5)
        held.append(low <= 1.0 <= high)
        plain.append(np.quantile(resampled, 0.05) <= 1.0 <= np.quantile(resampled, 0.95))
    assert 0.86 < np.mean(held) < 0.94 and np.mean(plain) < 0.82


def test_intervals_on_other_scales():
    drawn = np.array([0.5, 1.0, 2.0, np.inf, np.nan] * 20)
    low, high = bootstrap_interval(1.0, drawn, 30, "log")
    assert 0.4 < low < 0.5 and high == np.inf  # a fourth of the draws has no end: no upper bound
    assert bootstrap_interval(0.95, np.linspace(0.8, 1, 50), 5, "share")[1] == 1.0
    assert np.isnan(bootstrap_interval(1.0, np.array([1.0, 2.0]), 1)).all()


def test_frame_intervals_that_differ(tmp_path, capsys):
    """Times are compared in seconds. The MSD at one frame is not compared. One condition may not have two intervals."""
    parts = [
        telegraph((1 / 20, 1 / 25), 40, 100, seed=i).assign(condition=name, file=f"{file}.csv")
        for i, (name, file) in enumerate((("wt", "a"), ("mutant", "b")))
    ]
    parts[1]["track_id"] += 40
    given = record(0.01)
    given["inputs"][1]["frame_interval_s"] = 0.02
    write_folder(tmp_path, pd.concat(parts), inputs=given["inputs"])
    assert command.main([str(tmp_path)]) == 0 and "frame intervals differ" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "comparison.csv").set_index(["state", "quantity"])
    assert table.loc[("mobile", "mean_dwell"), "ratio"] == pytest.approx(2, rel=0.4)
    assert ("free", "msd_1_frames") not in table.index and ("free", "alpha_frames") in table.index
    with pytest.raises(InputError, match="different frame intervals"):
        find_frame_interval(pd.concat(parts).assign(condition="wt"), given)


def test_nothing_is_compared_without_the_first_condition():
    found = estimate_kinetics(telegraph((1 / 20, 1 / 25), 50, 100, seed=1), 1.0, 20)
    assert compare_conditions({"mutant": found, "other": found}, record(1.0)).empty
    table = compare_conditions({"mutant": found, "wt": found}, record(1.0))
    assert set(table["reference"]) == {"wt"} and set(table["condition"]) == {"mutant"}


def test_histograms_count_frames_or_tracks_alike():
    segments = telegraph((1 / 40, 1 / 25), 60, 100, seed=6)
    segments["k"] *= 1 + segments["track_id"]
    group = (segments["track_id"] % 2).to_numpy()
    whole = [segments.groupby(group)["n_frames"].sum().to_numpy(), segments.groupby(group)["track_id"].nunique()]
    for name, histogram in count_motion(segments, group, 2).items():
        assert histogram.sums.shape == (2, 2, 4, len(histogram.edges) - 1) and not histogram.sums[:, :, 0].any()
        moving = histogram.sums.sum(axis=(2, 3))
        assert moving == pytest.approx(np.stack(whole) * (1 - share_trapped(segments, group, 2))), name
    k = segments.loc[(segments["state"] == 2) & (group == 1), "k"]
    frames = segments.loc[k.index, "n_frames"]
    histogram = count_motion(segments, group, 2)["k"]
    expected = np.histogram(np.log10(k), histogram.edges, weights=frames)[0]
    assert histogram.sums[0, 1, 2] == pytest.approx(expected)
    nothing = count_motion(segments.iloc[:0], group[:0], 1)
    assert not nothing["k"].sums.any() and np.isfinite(nothing["k"].edges).all()


def test_pooled_frame_intervals_give_frames_and_no_comparison_of_times():
    parts = [
        telegraph((1 / 20, 1 / 25), 40, 100, seed=i).assign(condition=name, file=f"{file}.csv")
        for i, (name, file) in enumerate((("wt", "a"), ("mutant", "b"), ("mutant", "a")))
    ]
    table = pd.concat([part.assign(track_id=part["track_id"] + 40 * i) for i, part in enumerate(parts)])
    given = record(0.01)
    given["inputs"][1]["frame_interval_s"] = 0.02
    with pytest.raises(InputError, match="Condition mutant"):
        estimate_groups(table, table["condition"], given)
    found = estimate_groups(table, table["condition"], given, pool_intervals=True)
    assert [one.time_unit for one in found.values()] == ["s", "frames"]
    compared = set(compare_conditions(found, given)["quantity"])
    assert "labelled_share_frames" in compared and not any(name.startswith("msd") for name in compared)
