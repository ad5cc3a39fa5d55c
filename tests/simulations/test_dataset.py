"""Data sets: what is saved is what is loaded, lazily or not, and foreign files are refused unread."""

import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from simulations import simulate
from simulations.concat import concatenate
from simulations.concat import main as concat_main
from simulations.dataset import DTYPES, LazyTrackDataset, TrackDataset, collate, load_dataset
from simulations.parameters import MODELS
from simulations.pickle_data import main as pickle_main
from simulations.pickle_data import pickle_data, split_tracks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small simulation of two models, concatenated: 20 tracks each in row groups of 7."""
    folder = tmp_path_factory.mktemp("data") / "run"
    models = ["single_state", "immobile_traps"]
    simulate.simulate(simulate.run_parameters(models, 20, 60, 0, "andi2", 7), folder)
    concatenate(folder)
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    return sorted(folder.glob("*.parquet"))


def assert_same(item, other):
    assert item.keys() == other.keys()
    for name, value in item.items():
        assert value.dtype == other[name].dtype and torch.equal(value, other[name]), name


def test_items_are_the_rows_of_the_table(paths):
    dataset = TrackDataset.from_parquet(paths)
    table = pa.concat_tables([pq.read_table(path) for path in paths]).to_pandas()
    assert len(dataset) == 40
    for i, (_, track) in enumerate(table.groupby("track_id", sort=False)):
        item = dataset[i]
        assert torch.equal(item["xy"], torch.tensor(track[["x", "y"]].to_numpy(), dtype=torch.float32))
        for name in ("k", "alpha", "state"):
            assert torch.equal(item[name], torch.tensor(track[name].to_numpy()).to(item[name].dtype))
        assert item["sigma"] == np.float32(0.12) and MODELS[item["model"]] == track["model"].iloc[0]


def test_items_are_copies_and_indices_are_checked(paths):
    dataset = TrackDataset.from_parquet(paths)
    before = dataset.xy.clone()
    dataset[0]["xy"] += 1
    assert torch.equal(dataset.xy, before)
    assert_same(dataset[-1], dataset[39])
    with pytest.raises(IndexError):
        dataset[40]


def test_lazy_items_equal_loaded_items(paths):
    dataset, lazy = TrackDataset.from_parquet(paths), LazyTrackDataset(paths, cached_groups=2)
    assert len(lazy) == len(dataset)
    for i in np.random.default_rng(0).permutation(len(dataset)):
        assert_same(lazy[i], dataset[i])
    assert len(lazy._cache) == 2
    order = list(lazy.order(np.random.default_rng(1)))
    assert sorted(order) == list(range(40)) and order != sorted(order)


def test_lazy_works_in_a_data_loader(paths):
    lazy, dataset = LazyTrackDataset(paths), TrackDataset.from_parquet(paths)
    loader = torch.utils.data.DataLoader(lazy, batch_size=8, num_workers=1, collate_fn=collate)
    for i, batch in enumerate(loader):
        assert_same(batch, collate([dataset[j] for j in range(8 * i, 8 * i + 8)]))


def test_lazy_refuses_a_track_cut_by_a_row_group(tmp_path, paths):
    table = pq.read_table(paths[0])
    pq.write_table(table, tmp_path / "cut.parquet", row_group_size=30)
    with pytest.raises(ValueError, match="cuts track"):
        LazyTrackDataset(tmp_path / "cut.parquet")


@pytest.mark.parametrize("read", [TrackDataset.from_parquet, LazyTrackDataset])
def test_bad_parquet_is_refused(tmp_path, read):
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "columns.parquet")
    with pytest.raises(ValueError, match="text.parquet cannot be read"):
        read([tmp_path / "text.parquet"])
    with pytest.raises(ValueError, match="columns.parquet has no column track_id"):
        read([tmp_path / "columns.parquet"])[0]


def test_save_and_load(tmp_path, paths):
    dataset = TrackDataset.from_parquet(paths, info={"seed": 1})
    dataset.save(tmp_path / "set.pt")
    loaded = load_dataset(tmp_path / "set.pt")
    assert loaded.info == {"seed": 1} and len(loaded) == 40
    for i in range(40):
        assert_same(loaded[i], dataset[i])
    assert [p.name for p in tmp_path.iterdir()] == ["set.pt"]


@pytest.mark.parametrize("module", ["main.utils.dataset", "simulations.dataset"])
def test_files_that_hold_the_old_class_are_read(tmp_path, paths, module, monkeypatch):
    dataset, path = TrackDataset.from_parquet(paths, info={"seed": 1}), tmp_path / "old.pt"

    class OldTrackDataset:
        """As the class was when objects of it were saved."""

    OldTrackDataset.__module__, OldTrackDataset.__qualname__ = module, "TrackDataset"
    old = OldTrackDataset()
    vars(old).update(vars(dataset))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, types.SimpleNamespace(TrackDataset=OldTrackDataset))
        torch.save(old, path)
    assert f"c{module}\nTrackDataset\n".encode() in zipfile.ZipFile(path).read("old/data.pkl")
    loaded = load_dataset(path)
    assert type(loaded) is TrackDataset and loaded.info == {"seed": 1}
    assert all(torch.equal(getattr(loaded, name), getattr(dataset, name)) for name in DTYPES)


def test_a_saved_set_needs_no_class_and_is_memory_mapped(tmp_path, paths):
    dataset, path = TrackDataset.from_parquet(paths), tmp_path / "set.pt"
    dataset.save(path)
    content = torch.load(path, weights_only=True)
    assert type(content) is dict and all(torch.equal(content[name], getattr(dataset, name)) for name in DTYPES)
    loaded = load_dataset(path)
    assert str(path) in Path("/proc/self/maps").read_text() and torch.equal(loaded.xy, dataset.xy)


class Foreign:
    """Runs a command when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_foreign_classes_are_refused_and_not_executed(tmp_path, paths):
    trace, file = tmp_path / "executed", tmp_path / "foreign.pt"
    hidden = TrackDataset.from_parquet(paths, info={"note": Foreign(trace)})
    for content in (Foreign(trace), hidden, {"data": [Foreign(trace)]}, vars(hidden)):
        torch.save(content, file)
        with pytest.raises(ValueError, match="nothing in it was run") as caught:
            load_dataset(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(pickle.dumps(Foreign(trace)))
    with pytest.raises(ValueError, match="nothing in it was run"):
        load_dataset(file)
    assert not trace.exists()


def test_what_is_no_data_set_is_refused(tmp_path, paths):
    dataset = TrackDataset.from_parquet(paths)
    dataset.save(tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:3000])
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save(vars(dataset) | {"info": [1]}, tmp_path / "info.pt")
    torch.save(vars(dataset) | {"xy": dataset.xy.double()}, tmp_path / "double.pt")
    del dataset.sigma
    torch.save(dataset, tmp_path / "incomplete.pt")
    torch.save(vars(dataset), tmp_path / "without_sigma.pt")
    files = ("half.pt", "tensor.pt", "info.pt", "double.pt", "incomplete.pt", "without_sigma.pt", "absent.pt", ".")
    for name in files:
        with pytest.raises(ValueError):
            load_dataset(tmp_path / name)


NAN, INF = float("nan"), float("inf")
BAD_VALUES = [
    *(("x", value) for value in (NAN, INF, 1e30)),
    *(("y", value) for value in (NAN, -INF)),
    *(("state", value) for value in (99, -1, 4)),
    *(("k", value) for value in (-1.0, NAN, INF)),
    *(("alpha", value) for value in (-0.1, 2.1, NAN)),
    *(("sigma", value) for value in (-1.0, INF)),
]


def replaced(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_value_that_cannot_be_is_refused_with_file_and_row(tmp_path, paths, name, value):
    dataset = TrackDataset.from_parquet(paths)
    column = {"x": dataset.xy[:, 0], "y": dataset.xy[:, 1]}.get(name)
    (getattr(dataset, name) if column is None else column)[25] = value
    dataset.save(tmp_path / "set.pt")
    with pytest.raises(ValueError, match=rf"set\.pt, row 26 of {name}: \S+ is not a number from"):
        load_dataset(tmp_path / "set.pt")
    source, file = pq.ParquetFile(paths[0]), tmp_path / "bad.parquet"
    groups = [source.read_row_group(i) for i in range(source.num_row_groups)]
    values = groups[-1][name].to_numpy().copy()
    values[-1] = value
    groups[-1] = replaced(groups[-1], name, values.astype(groups[-1].schema.field(name).type.to_pandas_dtype()))
    with pq.ParquetWriter(file, groups[-1].schema) as writer:
        for group in groups:
            writer.write_table(group.cast(groups[-1].schema))
    words = rf"bad\.parquet, row {source.metadata.num_rows} of {name}: \S+ is not a number from"
    with pytest.raises(ValueError, match=words):
        TrackDataset.from_parquet(file)
    lazy = LazyTrackDataset(file)
    assert len(groups) > 1 and len(lazy[0]["xy"])
    with pytest.raises(ValueError, match=words):
        lazy[-1]


def test_an_unknown_localisation_error_is_no_bad_value(tmp_path, paths):
    dataset = TrackDataset.from_parquet(paths)
    dataset.sigma[3] = NAN
    dataset.save(tmp_path / "set.pt")
    assert load_dataset(tmp_path / "set.pt").sigma[3].isnan()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: replaced(t, "state", np.where(np.arange(len(t)) == 3, 300, t["state"])), "row 4 of state: 300"),
        (lambda t: replaced(t, "state", np.where(np.arange(len(t)) == 3, 1.5, t["state"])), "row 4 of state: 1.5"),
        (lambda t: replaced(t, "x", [None, *t["x"].to_pylist()[1:]]), "row 1 of x: nan"),
        (lambda t: replaced(t, "x", t["x"].to_numpy().astype(str)), "column x holds string, expected numbers"),
        (lambda t: replaced(t, "track_id", t["track_id"].to_numpy() + 0.5), "track_id should hold whole numbers"),
        (lambda t: replaced(t, "track_id", np.arange(len(t)) % 2), "the rows of track 0 do not lie together"),
        (lambda t: replaced(t, "frame", t["frame"].to_numpy() * 2), "row 2 of frame: does not follow"),
        (lambda t: t.slice(0, 1), "row 1: a track of one frame"),
    ],
)
def test_a_table_that_is_none_of_tracks_is_refused(tmp_path, paths, change, words):
    pq.write_table(change(pq.read_table(paths[0])), tmp_path / "bad.parquet")
    for read in (TrackDataset.from_parquet, lambda path: LazyTrackDataset(path)[0]):
        with pytest.raises(ValueError, match=rf"bad\.parquet.*{words}"):
            read(tmp_path / "bad.parquet")


@pytest.mark.parametrize("name", ["simulation.json", "manifest.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": 3}', '{"models": ["../x"], "tracks": 1}'])
def test_a_damaged_simulation_is_refused(tmp_path, capsys, name, text):
    (tmp_path / name).write_text(text)
    command = concat_main if name == "simulation.json" else pickle_main
    assert command([str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert f"{name}" in error and "is damaged" in error and "\n" not in error


def test_collate_pads_with_zeros(paths):
    dataset = TrackDataset.from_parquet(paths)
    items = [dataset[i] for i in (0, 25, 39)]
    batch = collate(items)
    longest = max(len(item["xy"]) for item in items)
    assert batch["xy"].shape == (3, longest, 2) and batch["state"].dtype == torch.int64
    assert batch["length"].tolist() == [len(item["xy"]) for item in items]
    for row, item in enumerate(items):
        for name in ("xy", "k", "alpha", "state"):
            assert torch.equal(batch[name][row, : len(item["xy"])], item[name])
            assert not batch[name][row, len(item["xy"]) :].any()
        assert batch["sigma"][row] == item["sigma"] and batch["model"][row] == item["model"]


def test_split_is_stratified_complete_and_seeded():
    model = np.repeat([0, 2, 4], [1000, 200, 37])
    split = split_tracks(model, seed=0)
    assert sorted(np.concatenate(list(split.values()))) == list(range(len(model)))
    for code, n in ((0, 1000), (2, 200), (4, 37)):
        counts = [(model[tracks] == code).sum() for tracks in split.values()]
        np.testing.assert_allclose(counts, [0.7 * n, 0.15 * n, 0.15 * n], atol=1)
    assert all((a == b).all() for a, b in zip(split.values(), split_tracks(model, 0).values(), strict=True))
    assert not np.array_equal(split["test"], split_tracks(model, 1)["test"])


def test_pickled_sets_hold_every_track_once(folder, paths):
    sets = [load_dataset(path) for path in pickle_data(folder, seed=5).values()]
    assert [len(s) for s in sets] == [28, 6, 6]
    assert all(s.model.bincount().tolist() == [len(s) // 2, 0, len(s) // 2] for s in sets)
    dataset = TrackDataset.from_parquet(paths)
    saved = {item["xy"].numpy().tobytes() for s in sets for item in (s[i] for i in range(len(s)))}
    assert saved == {dataset[i]["xy"].numpy().tobytes() for i in range(40)} and len(saved) == 40
    assert sets[0].info["parameters"]["seed"] == 0


def test_pickle_data_refuses_a_folder_without_manifest(tmp_path, capsys):
    assert pickle_main([str(tmp_path)]) == 2
    assert "run concat.py first" in capsys.readouterr().err
