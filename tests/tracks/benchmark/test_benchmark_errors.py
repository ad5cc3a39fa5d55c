"""Numbers behind the figures and tables of the benchmark, on cases with a known answer."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from main.tracks.benchmark.errors import (
    calibration_error,
    change_errors,
    distance_to_change,
    frame_errors,
    interval_coverage,
    k_errors,
    ratio_in_bins,
    reliability,
)
from main.tracks.benchmark.scores import SCORES
from main.tracks.benchmark.tables import format_number, markdown, verdict_table
from main.tracks.inference.segments import Segment
from main.utils.estimators import cramer_rao_bound

SIGMA = 0.12


def piece(start, end, k, alpha=1.0, state=2):
    return Segment(start=start, end=end, k=k, alpha=alpha, state=state)


@pytest.fixture
def table():
    truths = [[piece(0, 6, 0.0, 0.0, 0), piece(6, 20, 1.0), piece(20, 30, 0.1, 0.5)], [piece(0, 25, 0.01)]]
    rng = np.random.default_rng(0)
    return pd.DataFrame({"xy": [np.cumsum(rng.normal(size=(n, 2)), axis=0) for n in (30, 25)], "segments": truths})


def test_frame_errors_leave_out_trapped_frames(table):
    found = [[piece(0, 20, 10.0), piece(20, 30, 0.1, 0.75, 3)], [piece(0, 25, 0.01)]]
    frames = frame_errors(table, found, SIGMA)
    assert len(frames) == 24 + 25 and frames["track"].tolist() == [0] * 24 + [1] * 25
    first, last, second = frames.iloc[:14], frames.iloc[14:24], frames.iloc[24:]
    assert first["log10_k"].tolist() == [1] * 14 and (first[["alpha", "state"]] == 0).all(axis=None)
    assert (last["alpha"] == 0.25).all() and (last["state"] == 1).all() and (last["log10_k"] == 0).all()
    assert second["noise"].to_numpy() == pytest.approx(SIGMA / np.sqrt(0.02)) and second["distance"].isna().all()
    assert first["distance"].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1, 0]


def test_distance_is_zero_on_both_sides():
    assert distance_to_change([piece(0, 3, 1.0), piece(3, 5, 2.0)]).tolist() == [2, 1, 0, 0, 1]


def test_changes_carry_their_size_and_whether_they_were_found(table):
    changes = change_errors(table, [[piece(0, 22, 1.0), piece(22, 30, 1.0)], [piece(0, 25, 1.0)]])
    assert changes["found"].tolist() == [0, 1]
    assert np.isnan(changes["ratio_k"][0]) and changes["ratio_k"][1] == pytest.approx(10)
    assert changes["delta_alpha"][1] == 0.5


def test_ratio_in_bins_takes_tracks_as_independent():
    rng = np.random.default_rng(1)
    track = np.repeat(np.arange(400), 50)
    values = np.repeat(rng.normal(1.0, 0.5, 400), 50)  # the same all along a track
    one = ratio_in_bins(np.zeros(len(track)), [-1, 1], track, values).iloc[0]
    assert one["value"] == pytest.approx(values.mean()) and one["tracks"] == 400
    assert one["half_width"] == pytest.approx(1.645 * 0.5 / np.sqrt(400), rel=0.1)
    two = ratio_in_bins(np.array([0.0, 1.0, 2.0, np.nan, 9.0]), [0, 1, 2], [0, 0, 1, 1, 2], [1, 2, 4, 8, 16], 2.0)
    assert two["bin"].tolist() == [0, 1] and two["value"].tolist() == [0.5, 1.5]  # the last bin holds its edge


def test_calibration_error_by_hand():
    right = np.array([1, 0, 0, 1], bool)
    assert calibration_error(np.array([0.9, 0.9, 0.3, 1.0 + 1e-15]), right) == pytest.approx(1.1 / 4)


def test_reliability_of_right_and_of_overconfident_probabilities():
    rng = np.random.default_rng(2)
    probs = rng.dirichlet(np.ones(4), 20_000)
    state = (probs.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    bins, ece = reliability(probs, state)
    assert ece < 0.02 and np.abs(bins["stated"] - bins["observed"]).max() < 0.1
    sharp = probs**4 / (probs**4).sum(axis=1, keepdims=True)
    assert reliability(sharp, state)[1] > 0.15
    assert bins["frames"].sum() <= probs.size and bins["frames"].min() >= 100
    first = bins[(bins["state"] == 2) & (bins["stated"] < 0.1)].iloc[0]
    low = probs[:, 2] < 0.1
    assert first["frames"] == low.sum() and first["observed"] == pytest.approx((state == 2)[low].mean())


def test_k_errors_of_perfect_and_doubled_values():
    rng = np.random.default_rng(3)
    xy = [np.cumsum(rng.normal(0, np.sqrt(2), (50, 2)), axis=0) + rng.normal(0, SIGMA, (50, 2)) for _ in range(200)]
    table = pd.DataFrame({"xy": xy, "segments": [[piece(0, 50, 1.0)]] * 200})

    def pred(k):
        return SimpleNamespace(
            log10_k=np.full(50, np.log10(k)),
            alpha=np.ones(50),
            state_probs=np.tile([0.9, 0, 0.1, 0], (50, 1)),
            p_change=np.zeros(50),
        )

    errors = k_errors(table, {"right": [pred(1.0)] * 200, "double": [pred(2.0)] * 200}, SIGMA).loc["40 to 79"]
    assert errors["n"] == 200 and errors["bound"] == pytest.approx(cramer_rao_bound(50, 1.0, SIGMA))
    assert errors["right"] == pytest.approx(0, abs=1e-9) and errors["double"] == pytest.approx(1.4826)
    assert errors[["CVE", "MLE"]].tolist() == pytest.approx([errors["bound"]] * 2, rel=0.25)


def test_coverage_counts_moving_frames(table):
    lengths = table["xy"].map(len)
    frames = {
        name: [np.repeat([getattr(s, name) for s in parts], [s.n_frames for s in parts]) for parts in table["segments"]]
        for name in ("k", "alpha", "state")
    }
    preds = [
        SimpleNamespace(
            log10_k_lo=np.full(n, -1.5), log10_k_hi=np.full(n, 0.5), alpha_lo=np.full(n, 0.9), alpha_hi=np.full(n, 1.1)
        )
        for n in lengths
    ]
    result = interval_coverage(table.assign(**frames), preds).set_index(["of", "by", "bin"])["value"]
    assert result["log10_k", "all", "all"] == pytest.approx(24 / 49)
    assert result["alpha", "all", "all"] == pytest.approx(39 / 49)
    assert result["alpha", "alpha", "0.3 to 0.7"] == 0 and result["alpha", "state", "free"] == pytest.approx(39 / 49)


def test_numbers_in_text():
    assert format_number(0.82449, 3, (0.8149, 1.0)) == ".824 (.815-1.000)" and format_number(12.5, 2) == "12.50"
    frame = pd.DataFrame({"a": ["1", "2"]}, index=pd.Index(["x", "y"], name="method"))
    assert markdown(frame) == "| method | a |\n| --- | --- |\n| x | 1 |\n| y | 2 |"


def test_verdicts_in_text():
    rows = [
        dict(exp=exp, score=score, difference=0.02, verdict=verdict)
        for exp, verdict in ((1, "better"), ("mean", "within"))
        for score in SCORES
    ]
    text = verdict_table(pd.DataFrame(rows))
    assert text.loc["1 3 states"].tolist()[:2] == ["better +.020", "better +.02"]
    assert (text.loc["plain mean over experiments"] == "within").all()
