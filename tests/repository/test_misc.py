"""Programs in misc, and the cards of the shipped weights."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT

from main.models.tracks.network import BODIES
from misc import bench, compare, limits, weights_table

WEIGHTS = sorted(path.parent for path in (ROOT / "main" / "models" / "weights").glob("*/config.json"))


def name_of(folder) -> str:
    return folder.name


class TestWeightsTable:
    def test_committed_page_is_what_the_command_prints(self, capsys):
        assert weights_table.main([]) == 0
        assert capsys.readouterr().out == (ROOT / "main/models/weights/README.md").read_text(encoding="utf-8")

    def test_first_sentence_ends_at_a_full_stop_before_a_space(self):
        assert weights_table.take_first_sentence("3.7 million tracks. Prior: x.") == "3.7 million tracks"
        assert weights_table.take_first_sentence("`infer.py`.") == "`infer.py`"

    def test_scores_are_of_the_first_row(self):
        card = "(seed 7, 5 fields of view)\n| a | F1 |\n|---|---|\n| first | .9 |\n| second | .8 |\n"
        assert weights_table.read_scores(card) == {"a": "first", "F1": ".9", "seed, fields": "7, 5"}
        assert weights_table.read_scores("no table") == {}

    def test_scores_of_published_seeds_are_shown_without_intervals(self):
        card = "(published seeds, 30 fields of view)\n| a | F1 |\n|---|---|\n| first | .9 (.8-1.0) |\n"
        assert weights_table.read_scores(card) == {"a": "first", "F1": ".9", "seed, fields": "published, 30"}

    def test_card_without_a_point_is_an_error(self):
        with pytest.raises(ValueError, match="Used by"):
            weights_table.read_point("- **Predicts** K.\n", "Used by")


@pytest.mark.parametrize("folder", WEIGHTS, ids=name_of)
class TestCards:
    def test_range_of_lengths_is_that_of_the_configuration(self, folder):
        shortest, longest = json.loads((folder / "config.json").read_text())["training_range"]["n_frames"]
        card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
        assert set(re.findall(r"(\d+) to (\d+) frames", card)) == {(str(shortest), str(longest))}

    def test_names_of_bodies_are_present_ones(self, folder):
        nets = json.loads((folder / "config.json").read_text())["nets"]
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert set(re.findall(r"\(body `(\w+)`\)", card)) <= {net["body"] for net in nets.values()}
        assert {net["body"] for net in nets.values()} <= {*BODIES, "sample"} and "conv_lstm" not in card

    def test_files_that_it_names_are_there(self, folder):
        card = (folder / "README.md").read_text(encoding="utf-8")
        for path in re.findall(r"(?:main|misc|simulations)/[\w/]+\.(?:py|md|ipynb)", card):
            assert (ROOT / path).exists(), path

    def test_scores_are_those_of_the_benchmark_page(self, folder):
        page = (ROOT / "misc/benchmark.md").read_text(encoding="utf-8").replace("**", "")
        card = (folder / "README.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `.+", card, re.MULTILINE)
        assert len(rows) == ("predictor" in card) and all(row in page for row in rows)


class TestCompare:
    @pytest.fixture
    def tiny(self, monkeypatch):
        """One held-out batch and small chunks of the stream."""
        stream = compare.TrackStream
        monkeypatch.setattr(
            compare, "TrackStream", lambda prior, _, *args, **kw: stream(prior, 8, *args[:2], 512, **kw)
        )
        monkeypatch.setattr(compare, "islice", lambda batches, _: [next(iter(batches))])

    def test_designs_are_trained_scored_and_kept(self, tiny, tmp_path, capsys, monkeypatch):
        names = ["base", "scale as a feature, loss log10(K+1)"]
        compare.main([*names, "--steps", "2", "--out", str(tmp_path)])
        table = json.loads((tmp_path / "scores_2.json").read_text())
        assert list(table) == names
        assert all(np.isfinite(list(row.values())).all() for row in table.values())
        base, scaled = (table[name]["parameters"] for name in names)
        assert scaled > base  # one more feature to read
        monkeypatch.setattr(compare, "fit", None)  # finished designs are not trained again
        compare.main([*names, "--steps", "2", "--out", str(tmp_path)])
        assert "mae_alpha" in capsys.readouterr().out

    def test_a_track_reversed_twice_is_itself(self):
        length = torch.tensor([3, 5])
        batch = {n: torch.rand(2, 5) for n in ("k", "alpha", "state")} | {"xy": torch.rand(2, 5, 2), "length": length}
        once = compare.reverse(batch)
        assert torch.equal(once["xy"][0, :3], batch["xy"][0, :3].flip(0))
        twice = compare.reverse(once)
        for i, n in enumerate(length):
            assert all(torch.equal(twice[name][i, :n], batch[name][i, :n]) for name in ("xy", "k", "alpha", "state"))


class TestLimits:
    def test_page_has_all_tables_and_says_its_command(self, tmp_path, monkeypatch):
        few = limits.simulate_labelled_tracks("broad", 1, 3)[:12]
        monkeypatch.setattr(limits, "simulate_labelled_tracks", lambda *_: few)
        page, experiments = tmp_path / "limits.md", few[:4]
        monkeypatch.setattr(limits, "read_labelled_tracks", lambda _: experiments)
        options = ["--weights", "fast", "--tracks", "12", "--benchmark", "folder", "--out", str(page)]
        assert limits.main(options) == 0
        text = page.read_text(encoding="utf-8")
        assert "python misc/limits.py --weights fast --tracks 12" in text and str(limits.SEED) in text
        headings = re.findall(r"^## (.+)", text, re.MULTILINE)
        for tracks in ("prior `broad`", "stationary tracks", "AnDi-2 experiments"):
            for known in ("known", "unknown"):
                for rows in ("frames", "segments"):
                    assert any(tracks in h and f" {known} (" in h and h.endswith(rows) for h in headings)
        assert text.count("% missing") == 2 * len(limits.MISSING_SHARES) - 1
        assert "nan" not in text and "20 to 200 frames" in text

    def test_values_of_the_table(self):
        rows = pd.DataFrame(
            {"median error of log10 K": [0.1, 0.2, 0.9], "MAE alpha": [0.0, 0.3, 0.6], "state right": [1.0, 1.0, 0.0]}
            | {
                "msd_1 inside": [1.0, 0.0, 0.0],
                "K inside": [1.0, 0.0, 1.0],
                "alpha inside": [1.0, 1.0, 1.0],
                "state": [2, 2, 3],
            }
        )
        lines = limits.format_table(rows).splitlines()
        assert lines[2] == "| all | 3 | 0.200 | 0.300 | 0.333 | 0.667 | 1.000 | 0.667 |"
        assert lines[3] == "| state free | 2 | 0.150 | 0.150 | 0.500 | 0.500 | 1.000 | 1.000 |"

    def test_folder_that_is_not_there(self, tmp_path, capsys):
        assert limits.main(["--benchmark", str(tmp_path / "none")]) == 2
        assert "none" in capsys.readouterr().err


class TestBench:
    def test_a_training_step_and_a_prediction(self):
        batch = bench.TrackStream(["broad"], 4, "cpu", 0, 512).simulate_chunk(0)
        batch = {n: v[:4] for n, v in batch.items()}
        assert bench.train_step(*bench.make_training("conv_bilstm"), batch) == 4
        assert len(bench.untrained_predictor().predict(list(bench.simulate_brownian_tracks(2)))) == 2

    def test_packed_lstm_reads_what_the_flipped_one_reads(self):
        task, _, net, _ = bench.make_training()
        layer = net.body.blocks[0].layers[0]
        packed = bench.PackedBiLSTM(layer)
        for suffix, lstm in (("", layer.ahead), ("_reverse", layer.back)):
            for name, value in lstm.named_parameters():
                getattr(packed.lstm, name + suffix).data.copy_(value)
        x, length = torch.randn(2, 7, layer.ahead.input_size), torch.tensor([7, 4])
        for i, n in enumerate(length):
            torch.testing.assert_close(packed(x, length)[i, :n], layer(x, length)[i, :n])

    def test_rows_say_what_they_measure(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(bench, "OUT", tmp_path / "runs" / "bench.json")
        monkeypatch.setitem(bench.PARTS, "infer_tracks_per_s", ("tracks/s of something", lambda: 3.0))
        bench.main(["infer_tracks_per_s"])
        assert re.search(r"infer_tracks_per_s +3\.00  tracks/s of something", capsys.readouterr().out)
        assert json.loads((tmp_path / "runs" / "bench.json").read_text()) == {"infer_tracks_per_s": 3.0}
        assert all(len(meaning.split()) >= 3 for meaning, _ in bench.PARTS.values())

    def test_a_part_that_is_not_known(self, capsys):
        with pytest.raises(SystemExit):
            bench.main(["train_on_the_moon"])
        assert "train_on_the_moon" in capsys.readouterr().err
