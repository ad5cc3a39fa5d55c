"""Estimators beside the networks: classical ones against exact answers, the ladder, the tables."""

import numpy as np
import pytest
import torch

from main.images.estimators import (
    CLASSICAL,
    LADDER,
    POSTERIORS,
    estimate_all,
    estimate_from_positions,
    fill_gaps,
    fit_through_origin,
)
from main.images.task import true_log10_d
from misc.image_limits import main, make_cells, rmse_interval, tabulate
from simulations.image_sets import LABEL_OF_PX, fit_line_through_origin, make_image_set


@pytest.fixture(scope="module")
def fast():
    """Estimates of fast, bright molecules, and the errors of log10 D by method."""
    part = next(make_image_set("blur", 100, seed=22))
    found = estimate_all(part)
    return part, found, {name: value[:, 0] - true_log10_d(part) for name, value in found.items()}


def test_line_through_the_origin_is_that_of_the_label():
    path = np.cumsum(np.random.default_rng(1).normal(size=(5, 160, 2)), axis=1)
    seen = np.ones((5, 160), bool)
    np.testing.assert_allclose(10 * fit_through_origin(path, seen), fit_line_through_origin(path))


def test_line_through_the_origin_leaves_out_what_is_not_seen():
    xy = np.cumsum(np.random.default_rng(2).normal(size=(1, 16, 2)), axis=1)
    seen = np.ones((1, 16), bool)
    seen[0, 5] = False
    wrong = xy.copy()
    wrong[0, 5] += 1e3
    assert fit_through_origin(wrong, seen) == pytest.approx(fit_through_origin(xy, seen))
    assert fit_through_origin(wrong, np.zeros_like(seen)) == 0


def test_gaps_are_interpolated():
    xy = np.arange(8.0).reshape(1, 4, 2)
    seen = np.array([[True, False, True, True]])
    wrong = xy.copy()
    wrong[0, 1] = 77
    np.testing.assert_allclose(fill_gaps(wrong, seen), xy)


def test_classical_methods_agree_with_d_of_long_tracks():
    generator = torch.Generator().manual_seed(3)
    position = (torch.randn(4, 4000, 2, generator=generator) * 2**0.5).cumsum(1)
    found = estimate_from_positions(position, torch.full((4, 4000), 0.01), torch.full((4,), 1e-6))
    for name in ("cve", "mle", "msd_line"):
        assert found[name][:, 0].abs().max() < 0.08


def test_every_method_gives_finite_numbers(fast):
    _, found, _ = fast
    assert set(found) == {*CLASSICAL, *POSTERIORS, *LADDER}
    for name, value in found.items():
        assert value.shape == (100, 2) and torch.isfinite(value[:, 0]).all()
        assert torch.isfinite(value[:, 1]).all() == (name not in CLASSICAL)


def test_each_step_of_the_ladder_tells_more(fast):
    """15 steps of two coordinates: .112 dex; with the scatter about .05; 159 steps: .034."""
    _, _, miss = fast
    rmse = [miss[name].square().mean().sqrt().item() for name in LADDER]
    assert rmse[0] > 1.5 * rmse[1] > 1.5 * 1.3 * rmse[2]
    assert 0.08 < rmse[0] < 0.15 and 0.025 < rmse[2] < 0.045


def test_shapes_as_fitted_beat_every_reader_of_positions(fast):
    _, found, miss = fast
    rmse = {name: values.square().mean().sqrt().item() for name, values in miss.items()}
    assert rmse["path_fitted"] < min(rmse[name] for name in (*CLASSICAL, "path", "known_positions"))
    z = miss["path_fitted"] / found["path_fitted"][:, 1]
    assert abs(miss["path_fitted"].mean().item()) < 0.04 and 0.75 < z.std().item() < 1.35


def test_estimates_do_not_depend_on_gain_and_offset(fast):
    part, found, _ = fast
    few = {name: value[:6] for name, value in part.items()}
    few["offset"] = few["offset"].round()
    other = few | {"images": 4 * few["images"] + 64, "gain": 4 * few["gain"], "offset": 4 * few["offset"] + 64}
    again = estimate_all(other)
    for name, value in estimate_all(few).items():
        torch.testing.assert_close(again[name], value, atol=2e-3, rtol=0, equal_nan=True)


def test_the_originals_tracks_leave_the_field_and_their_label_is_luck():
    parts = list(make_image_set("as_published", seed=23))
    path, label = (torch.cat([p[name] for p in parts]) for name in ("subpositions", "label"))
    outside = (path.abs().amax((1, 2, 3)) > 32).float().mean()
    assert 0.2 < outside < 0.4  # 30 % of its 250 sequences
    d = fit_line_through_origin(path.flatten(1, 2).double().numpy()) * LABEL_OF_PX
    np.testing.assert_allclose(d, label, rtol=1e-4)
    assert len({p["d"][0].item() for p in parts}) == 1


def test_intervals_and_cells():
    miss = np.random.default_rng(4).normal(0, 0.2, 400)
    value, low, high = rmse_interval(miss)
    assert low < value < high and value == pytest.approx(0.2, rel=0.1)
    truth = np.log10(np.repeat([0.005, 5.0], 200))
    scores = {name: np.stack([truth + miss, np.full(400, 0.2)], 1) for name in (*CLASSICAL, *POSTERIORS, *LADDER)}
    scores |= {"truth": truth, "d": 10**truth, "photons": np.tile([100.0, 1000.0], 200)}
    names = [name for name, _ in make_cells(scores)]
    assert names[0] == "all" and len(names) == 1 + 2 + 2 + 4
    assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in tabulate(scores)


def test_command_refuses_in_one_sentence(capsys, tmp_path):
    assert main(["--n", "3"]) == 2
    assert main(["--weights", str(tmp_path / "none")]) == 2
    assert all(line.startswith("image_limits.py: ") for line in capsys.readouterr().err.splitlines())
