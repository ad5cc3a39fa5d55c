"""The audit: its generators, its statistics, its verdicts and page, and a small part of it at a small scale."""

from concurrent.futures import ThreadPoolExecutor

import audit
import known_tracks
import numpy as np
import pytest
from audit_rows import Cell, Estimate, Row, mean, median, ratio, share
from audit_samples import cut_by_bic

STEP, DT = known_tracks.STEP, known_tracks.FRAME_INTERVAL


@pytest.fixture
def rng():
    return np.random.default_rng(5)


class TestKnownTracks:
    @pytest.mark.parametrize("alpha", [0.4, 1.0, 1.6])
    def test_mean_squared_displacement_is_that_of_its_law(self, rng, alpha):
        tracks = np.array(known_tracks.fractional(2000, 30, alpha, rng))
        for lag in (1, 5, 29):
            square = (tracks[:, lag] ** 2).sum(axis=1)
            assert abs(mean(square).value / (2 * STEP**2 * lag**alpha) - 1) < 4 / np.sqrt(len(square))

    def test_full_exposure_takes_a_third_from_the_steps(self, rng):
        tracks = np.array(known_tracks.blurred(400, 30, 1.0, 1.0, rng))
        # <dx^2> = 2 D dt (1 - 2 R), R = 1/6 in continuous time and (1 - 1/n^2) / 6 for n places a frame
        wanted = STEP**2 * (1 - (1 - 1 / known_tracks.SUBSTEPS**2) / 3)
        assert np.mean(np.diff(tracks, axis=1) ** 2) == pytest.approx(wanted, rel=0.03)

    def test_switching_has_its_occupancy_and_stands_still_when_immobile(self, rng):
        tracks, second = known_tracks.switching(300, 100, (1.2, 0.3), rng)
        assert np.mean(second) == pytest.approx(0.2, abs=0.03)
        still = [s[1:] & s[:-1] for s in second]
        steps = np.concatenate([np.diff(t, axis=0)[s] for t, s in zip(tracks, still, strict=True)])
        assert np.median(np.abs(steps)) == 0  # but for short visits to the other state between two frames

    def test_disc_is_filled_and_not_left(self, rng):
        places = np.linalg.norm(known_tracks.disc(50, 40, 2 * STEP, rng), axis=-1)
        assert places.max() <= 2 * STEP and np.mean(places**2) == pytest.approx(2 * STEP**2, rel=0.1)

    def test_phase_flow_drift_and_spike(self, rng):
        tracks, masks = known_tracks.immobile_phase(5, 60, 20, rng)
        for track, mask in zip(tracks, masks, strict=True):
            assert mask.sum() == 20 and np.ptp(track[mask], axis=0).max() == 0
        still = known_tracks.beads(3, 11)
        for moved in (known_tracks.flow(still, 0.2, rng), known_tracks.drift(still, 0.2)):
            assert np.allclose([np.linalg.norm(track[-1]) for track in moved], 2.0)
        assert [(t != 0).any(axis=1).sum() for t in known_tracks.spike(still, 1.0, rng)] == [1, 1, 1]

    def test_table_leaves_out_inner_points(self, rng):
        table = known_tracks.make_table(known_tracks.beads(20, 50), 0.3, rng)
        ends = table.groupby("track_id")["frame"].agg(["min", "max", "size"])
        assert (ends["min"] == 0).all() and (ends["max"] == 49).all() and 30 < ends["size"].mean() < 42

    def test_levels_change_where_they_say(self, rng):
        tracks, changes = known_tracks.levels(20, 200, (1.0, 1e4), 40, rng)
        for track, places in zip(tracks, changes, strict=True):
            assert cut_by_bic(track) == pytest.approx(places, abs=3)


class TestStatistics:
    def test_share_is_wilsons(self):
        assert share([True] * 8 + [False] * 2).value == 0.8
        assert share([True] * 10).low == pytest.approx(10 / (10 + 1.6449**2), rel=1e-3)
        assert np.isnan(share([]).value)

    def test_mean_median_and_ratio(self, rng):
        values = rng.normal(3, 1, 400)
        for estimate in (mean(values), median(values), ratio(values, np.ones(400))):
            assert estimate.low < estimate.value < estimate.high and abs(estimate.value - 3) < 0.2
            assert 0.1 < estimate.high - estimate.low < 0.3 and estimate.n == 400  # 2 x 1.64 / 20, the median's wider
        assert mean([1.0, np.nan, 3.0]).n == 2


def make_row(value, target, warned=0.0, of_intervals=False) -> Row:
    measured = Estimate(value, value - 0.1, value + 0.1, 1000)
    return Row("question", "tracks", measured, target, warned, "a note", of_intervals)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("value", "target", "warned", "verdict"),
        [
            (0.9, (0.85, 0.95), 0.0, "holds"),
            (0.96, (0.85, 0.95), 0.0, "missed"),
            (0.5, (0.85, None), 0.5, "missed"),
            (0.5, (0.85, None), 1.0, "flagged"),
            (0.5, None, 1.0, "no target"),
            (np.nan, (0.85, None), 0.0, "not measured"),
        ],
    )
    def test_value_target_and_warning_decide(self, value, target, warned, verdict):
        assert make_row(value, target, warned).verdict == verdict

    def test_intervals_that_hold_the_truth_too_often_are_too_wide(self):
        assert make_row(0.97, (0.85, 0.95), 1.0, of_intervals=True).verdict == "too wide"
        assert make_row(0.8, (0.85, 0.95), 0.0, of_intervals=True).verdict == "missed"

    def test_line_of_the_page(self):
        line = audit.format_row(make_row(0.5, (0.85, None)))
        assert line == "| question | tracks | 0.500 (0.400 to 0.600), 1,000; a note | >= 0.85 | **missed** |"


@pytest.fixture
def toy_audit(monkeypatch, tmp_path):
    """An audit of three cells, of which one fails; returns the store and the cells measured so far."""
    measured = []

    def succeed(rng, scale):
        measured.append(rng.random())
        return [make_row(0.9, (0.85, 0.95)), make_row(0.5, (0.85, 0.95))]

    def fail(rng, scale):
        raise ValueError("no such column")

    cells = {name: Cell(name, make) for name, make in (("A: one", succeed), ("A: two", succeed), ("B", fail))}
    monkeypatch.setattr(audit, "list_cells", lambda repetitions: cells)
    monkeypatch.setattr(audit, "ProcessPoolExecutor", lambda n, mp_context: ThreadPoolExecutor(1))
    return tmp_path / "store.json", measured


class TestCommand:
    def test_page_counts_verdicts_and_names_what_failed(self, toy_audit, tmp_path, capsys):
        store, measured = toy_audit
        assert audit.main(["--store", str(store), "--out", str(tmp_path / "audit.md")]) == 1
        page = (tmp_path / "audit.md").read_text(encoding="utf-8")
        assert "| A | 2 | 2 | 0 | 0 | 0 | 0 |" in page and "| **all** | 2 | 2 | 0 | 0 | 0 | 1 |" in page
        assert "B: could not be measured (ValueError: no such column)" in page and page in capsys.readouterr().out
        assert len(set(measured)) == 2  # each cell has random numbers of its own

    def test_finished_cells_are_not_measured_again_unless_the_code_changes(self, toy_audit, monkeypatch):
        store, measured = toy_audit
        assert audit.main(["--store", str(store), "--rows", "a: one"]) == 0
        assert audit.main(["--store", str(store), "--rows", "A*"]) == 0
        assert len(measured) == 2
        monkeypatch.setattr(audit, "digest", lambda code: "other")
        assert audit.main(["--store", str(store), "--rows", "A: one"]) == 0
        assert measured[0] == measured[2] != measured[1]

    def test_unknown_rows(self, toy_audit, capsys):
        assert audit.main(["--rows", "none"]) == 2
        assert "none" in capsys.readouterr().err


def list_contradicted(rows: list[Row]) -> list[str]:
    """Rows whose whole interval lies outside their target: fewer tracks than the audit's cannot say more.

    Intervals that are too wide are left to the audit itself.
    """
    with_target = [(row, *row.target) for row in rows if row.target]
    return [
        audit.format_row(row)
        for row, low, high in with_target
        if (low is not None and row.measured.high < low)
        or (high is not None and row.measured.low > high and not row.of_intervals)
    ]


class TestSmallAudit:
    """A fixed part of the audit at a small scale."""

    def test_a_row_outside_its_target_is_listed(self):
        rows = [make_row(0.5, (0.7, None)), make_row(0.5, (None, 0.3)), make_row(0.65, (0.7, 0.8)), make_row(0.5, None)]
        assert len(list_contradicted(rows)) == 2

    @pytest.mark.parametrize(
        ("name", "scale"),
        [
            ("Intervals: 100 frames, noise 0.2, sigma known", 0.06),
            ("Immobile: 100 frames, sigma known", 0.1),
            ("Switching: 0.6 and 0.6 s, noise 0.2", 1.0),  # two repetitions
            ("Drift: immobile, 0.05 steps a frame", 0.1),
            ("One wrong point: spike", 0.05),
            ("Left out: real tracks", 1.0),
            ("Holds", 0.2),
        ],
    )
    def test_cell(self, name, scale):
        rows, _ = audit.measure(name, scale, repetitions=2)
        assert rows and list_contradicted(rows) == []
