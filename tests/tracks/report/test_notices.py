"""First lines and units of a report: warnings, what was left out, components, comparisons of remainders."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_tables import INTERVAL, make_tables, segments_and_tracks, split_into, write_results

from main import kinetics
from main.tracks.kinetics.rates import estimate_groups
from main.tracks.report import write
from main.tracks.report.data import pack_points, pack_tracks
from main.tracks.report.fit_sections import fit_groups, list_fit_warnings, make_fit_sections
from main.tracks.report.html import format_sentence
from main.tracks.report.microscope import describe_file, make_microscope_table
from main.tracks.report.notices import WARNINGS, make_notices
from main.tracks.report.overview import estimate_moving_means
from main.tracks.report.write import write_report
from main.tracks.results.components import tabulate_components
from main.tracks.results.display_units import convert_points

PARTS = {"tracks_used": 3, "points_used": 90, "tracks_left_out": 70, "points_left_out": 700}
PARTS |= {"d_cve_used": 0.2, "d_cve_used_lo": 0.1, "d_cve_used_hi": 0.3}
PARTS |= {"d_cve_left_out": 4.0, "d_cve_left_out_lo": 3.5, "d_cve_left_out_hi": 4.5}
COMPONENT = {"state": "free", "share": 0.4, "share_lo": 0.3, "share_hi": 0.5, "k": 0.5, "alpha": 0.8, "dwell": 30.0}
COMPONENT |= {"log10_k_sd": 0.1, "alpha_sd": 0.05}


def read_body(path):
    """Text of the page without scripts."""
    return re.sub(r"<script.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.S)


def test_first_lines_hold_warnings_counts_and_what_was_left_out():
    _, _, tracks, record = make_tables()
    tracks.loc[:2, "warnings"] = ["too_short", "too_short;many_gaps", "many_gaps"]
    record["warnings"] = ["D is 0.2 um^2/s in <b>"]
    record["left_out"] = [{"file": None, "condition": None, "reasons": ["few_points"]} | PARTS]
    text = str(make_notices(tracks, record, {"all tracks": ["D is uncertain"]}))
    assert "Occupancy, dwell times and rates: D is uncertain" in text
    assert text.index("0.2 µm²/s in &lt;b&gt;") < text.index("700 points in 70 tracks") < text.index("too_short")
    assert "4.00 µm²/s (3.50 to 4.50)" in text and "0.0120 µm" in text
    assert re.search(r"many_gaps <small[^<]*>More than 10 %[^<]*</small></th><td>2</td>", text)


def test_localisation_error_drift_and_exposure_of_each_file():
    *tables, record = make_tables()
    *_, tracks, record = split_into(["a.csv", "b.csv"], "file", tables, record)
    noise = {"used": 0.12, "estimate": 0.2, "low": 0.18, "high": 0.22, "determined": True, "contradicted": True}
    moved = {
        "velocity": [0.03, 0.04],
        "error": [0.003, 0.004],
        "varies": False,
        "tracks_affected": 0.8,
        "matters": True,
        "corrected": False,
    }
    record["localization_error"] = [{"file": "a.csv"} | noise, {"file": "b.csv"} | noise | {"estimate": None}]
    record["drift"] = [{"file": "b.csv"} | moved]
    record["wrong_points"] = [{"file": name, "points": 3, "jumps": 0} for name in ("a.csv", "b.csv")]
    record["options"] |= {"localization_error": 0.12, "exposure": 0.5}
    of_a, of_b = (describe_file(tracks, record, given, True) for given in record["inputs"])
    assert "0.0120 µm" in of_a["localisation error used"] and "contradicts" in of_a["localisation error used"]
    assert of_a["localisation error that the steps show"] == "0.0200 µm <small>0.0180 to 0.0220</small>"
    assert "unknown" in of_b["localisation error that the steps show"] and "common drift" not in of_a
    assert of_b["common drift"].startswith("0.250 ± 0.025 µm/s") and "80 %" in of_b["common drift"]
    assert of_a["exposure"].startswith("0.50") and of_a["wrong points"].startswith("3 left out")
    assert "a.csv" in make_microscope_table(tracks, record)


def test_units_in_a_sentence_are_those_of_the_page():
    assert format_sentence("a number of um^2/s^alpha & a column") == "a number of µm²/s<sup>α</sup> &amp; a column"


def test_positions_are_in_micrometres_and_msd_1_is_that_of_the_segments():
    points, segments, _, record = make_tables()
    converted = convert_points(points, record)
    assert np.allclose(converted["x"], 0.1 * points["x"]) and np.allclose(converted["y"], 0.1 * points["y"])
    moving = converted[converted["state"] > 0]
    assert np.allclose(moving["msd_1"], 4 * moving["k"] * INTERVAL ** moving["alpha"])
    assert (converted.loc[converted["state"] == 0, "msd_1"] == 0).all() and "msd_1" in pack_points(converted)
    measured = segments.assign(net_speed=0.5, net_speed_lo=0.1, net_speed_hi=0.9, confinement_radius=np.nan)
    packed = pack_tracks(converted, measured, [])["segments"]
    assert {"msd_1", "msd_1_lo", "msd_1_hi", "net_speed", "net_speed_hi"} <= set(packed)
    assert "confinement_radius" not in packed  # none was measured


def test_files_of_several_pixel_sizes():
    *tables, record = make_tables()
    points, _, _, record = split_into(["a.csv", "b.csv"], "file", tables, record)
    record["inputs"][1] |= {"um_per_unit": 0.2, "frame_interval_s": 0.04}
    ratio = (convert_points(points, record)["x"] / points["x"]).groupby(points["file"]).mean()
    assert ratio.to_dict() == pytest.approx({"a.csv": 0.1, "b.csv": 0.2})


def test_means_over_moving_frames_are_inside_their_intervals():
    points, segments, *_ = make_tables(60)
    means = estimate_moving_means(segments)
    moving = segments[segments["state"] > 0]
    expected = np.exp(np.average(np.log(moving["msd_1"]), weights=moving["n_frames"]))
    assert means["msd_1_frames"][0] == pytest.approx(expected)
    assert all(low < value < high for value, low, high in means.values())
    few = segments[segments["track_id"] < 3]
    assert np.isnan(estimate_moving_means(few)["msd_1_frames"][1])
    by_file = segments.assign(file=(segments["track_id"] % 5).astype(str))
    assert estimate_moving_means(by_file)["msd_1_frames"][1:] != means["msd_1_frames"][1:]


@pytest.fixture
def without_fit(monkeypatch):
    """Reports without the fit of states, which takes seconds."""
    monkeypatch.setattr(write, "fit_groups", lambda *_: ({}, ""))


def test_components_stand_in_the_report_with_msd_1_and_seconds(tmp_path, capsys, monkeypatch, without_fit):
    *tables, record = make_tables()
    record["samples"] = [{"mixture": True, "reason": "12 tracks were decoded", "components": [COMPONENT]}]
    table = tabulate_components(record)
    assert table["msd_1"].tolist() == pytest.approx([4 * 0.5 * INTERVAL**0.8])
    assert table["dwell"].tolist() == pytest.approx([30 * INTERVAL]) and table["k_lo"].isna().all()
    text = read_body(write_report(write_results(tmp_path / "used", *tables, record)))
    assert text.index("a motion that no particle has") < text.index("every frame counts alike")
    assert re.search(r"1 free</th><td>40 % <small>30 % to 50 %</small></td><td>0\.0875", text) and "0.600" in text
    found = pd.DataFrame({"value": [1.0], "n": [1]}), pd.DataFrame(), "", []
    monkeypatch.setattr(kinetics, "describe_kinetics", lambda _: found)
    assert kinetics.main([str(tmp_path / "used")]) == 0
    assert re.search(r"Components .*\n.*dwell_hi.*\n.*free .*0\.4 .*0\.08747", capsys.readouterr().out)
    record["samples"][0]["mixture"] = False
    assert tabulate_components(record).empty
    text = read_body(write_report(write_results(tmp_path / "not", *tables, record)))
    assert "12 tracks were decoded" in text and "1 free" not in text


@pytest.mark.parametrize(("reasons", "grey"), [(["few_points"], True), ([], False)])
def test_a_comparison_of_a_remainder_is_greyed_out(tmp_path, without_fit, reasons, grey):
    *tables, record = make_tables(40)
    record |= {"inputs": [record["inputs"][0] | {"condition": "wild"}]}
    *tables, record = split_into(["wild", "mutant"], "condition", tables, record)
    record["left_out"] = [{"file": None, "condition": "mutant", "reasons": reasons} | PARTS]
    text = read_body(write_report(write_results(tmp_path / "out", *tables, record)))
    assert ("Greyed out: comparisons with mutant" in text) == grey == ('<tr class="grey">' in text)


def test_states_are_fitted_to_a_share_of_many_tracks():
    points, segments, tracks, record = make_tables(40, (50, 60))
    labels = np.where(segments["track_id"] < 30, "many", "few")
    fits, note = fit_groups(points, tracks, segments, labels, record, max_points=len(points) // 2)
    assert "fitted to 20 of the 40 analysed tracks" in note and "many" in fits
    few = segments["track_id"] > 38  # 1 track: too few steps to fit states
    estimates = estimate_groups(segments, np.where(few, "one track", "others"), record)
    assert list_fit_warnings(fits, estimates)["one track"][0].startswith("Fewer than 100 steps")
    html = make_fit_sections(fits, {"many": [], "few": ["D < 1 um^2/s"]}, note, record)
    assert html.count("<svg") <= len(fits) and "D &lt; 1 µm²/s" in html and note in html


def test_tables_without_the_newer_columns_are_shown(tmp_path, without_fit):
    points, *_, record = make_tables()
    segments, tracks = segments_and_tracks(points)
    old = segments.drop(columns=["msd_1_lo", "msd_1_hi"])
    text = read_body(write_report(write_results(tmp_path / "out", points, old, tracks, record)))
    assert "K of one segment" in text and "MSD at one frame of one segment" not in text


def test_every_warning_of_a_track_has_a_sentence():
    listed = (Path(__file__).parents[3] / "main/tracks/README.md").read_text(encoding="utf-8")
    table = listed.split("| warning of a track | means |")[1].split("\n\n")[0]
    names = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M))
    assert "too_short" in names and names <= set(WARNINGS)
