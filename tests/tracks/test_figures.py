"""Figures of results: lengths in um and times in s where they are known."""

import numpy as np
import pytest
from report_tables import INTERVAL, make_tables, split_into, write_results

from main.tracks import figures
from main.utils.errors import InputError

PIXEL_SIZE = 0.1  # um, of `report_tables`


@pytest.mark.parametrize(("known", "label", "scale"), [(True, "time (s)", INTERVAL), (False, "frame", 1.0)])
def test_time_is_in_seconds_where_the_frame_interval_is_known(known, label, scale):
    points, segments, _, record = make_tables()
    record["inputs"][0]["frame_interval_s"] = INTERVAL if known else None
    figure = figures.plot_results(points, segments, record)["track_over_time"]
    assert figure.axes[-1].get_xlabel() == label
    track = segments.groupby("track_id").size().idxmax()
    rows, frame = segments[segments["track_id"] == track], points["frame"][points["track_id"] == track]
    low, high = figure.axes[-1].get_xlim()
    assert low == pytest.approx(scale * (frame.min() - 0.5)) and high == pytest.approx(scale * (frame.max() + 0.5))
    lines = {line.get_xdata()[0] for line in figure.axes[3].lines if line.get_linestyle() == "--"}
    assert np.allclose(sorted(lines), scale * rows["frame_start"].to_numpy()[1:])


def test_maps_are_in_um_where_the_pixel_size_is_known():
    points, segments, _, record = make_tables()
    known = figures.plot_results(points, segments, record)["tracks_state"].axes[0]
    unknown_record = record | {"inputs": [record["inputs"][0] | {"um_per_unit": None}]}
    unknown = figures.plot_results(points, segments, unknown_record)["tracks_state"].axes[0]
    um, px = (ax.dataLim.width for ax in (known, unknown))
    assert um == pytest.approx(PIXEL_SIZE * px, rel=1e-6)
    assert known.texts[0].get_text().endswith("µm") and unknown.texts[0].get_text().endswith("px")


def test_every_file_has_its_own_frame_interval(tmp_path):
    points, segments, tracks, record = make_tables()
    *tables, record = split_into(["a.csv", "b.csv"], "file", (points, segments, tracks), record)
    record["inputs"][1]["frame_interval_s"] = 2 * INTERVAL
    written = figures.draw_results(write_results(tmp_path / "out", *tables, record))
    assert {path.stem for path in written} >= {"track_over_time_0", "track_over_time_1"}
    of_b = [table[table["file"] == "b.csv"] for table in tables[:2]]
    axes = figures.plot_results(*of_b, record)["track_over_time"].axes
    track = of_b[1].groupby("track_id").size().idxmax()
    last = of_b[0]["frame"][of_b[0]["track_id"] == track].max()
    assert axes[-1].get_xlim()[1] == pytest.approx(2 * INTERVAL * (last + 0.5))


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no run.json"):
        figures.draw_results(tmp_path)
