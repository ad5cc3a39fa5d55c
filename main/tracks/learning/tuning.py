"""Hyper-parameter search with optuna; it can be resumed, and several processes can share it."""

from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from main.tracks.learning.task import TrackOptions, TrackTask
from main.utils.training import DivergedError, Options, fit, validation
from simulations.stream import TrackStream

SPACE = {
    "lr": lambda trial: trial.suggest_float("lr", 1e-6, 1e-1, log=True),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
    "batch": lambda trial: trial.suggest_categorical("batch", [16, 32, 64, 128]),
    "dropout": lambda trial: trial.suggest_float("dropout", 0.0, 0.5),
    "layers": lambda trial: trial.suggest_categorical("layers", ["2", "2,2", "2,2,1"]),
}


def open_study(path: str | Path, name: str, seed: int | None = None) -> optuna.Study:
    """Open the study of this name in a journal file: a new one, or the one that is there; processes may share it.

    Parameters
    ----------
    path : path
        Journal file; its folder is made.
    name : str
    seed : int, optional
        Seed of the sampler; another one for each process, or none.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(path)))
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(study_name=name, storage=storage, sampler=sampler, load_if_exists=True)


def search(
    study: optuna.Study,
    n_trials: int,
    val: list[dict],
    track_options: TrackOptions,
    options: Options,
    runs: Path,
    *,
    searched=("lr", "weight_decay"),
    batch: int = 32,
    prior=("broad", "challenge"),
    chunk: int = 4096,
    device: str = "cpu",
) -> None:
    """Add trials until the study has `n_trials` complete ones, whichever process ran them.

    Trials that diverge count as failed; a process stops after twice `n_trials`.

    Parameters
    ----------
    study : Study
        As returned by `open_study`.
    val : list of batch dicts
        Held-out batches, on which the validation loss is minimised.
    track_options, options : TrackOptions, Options
        Options of every trial; those in `searched` are replaced.
    runs : Path
        Folder in which the run folders of the trials are made.
    searched : sequence of str
        Keys of `SPACE`: learning rate and weight decay (L2) as in the original system, and others to search as well.
    batch, prior, chunk : as for TrackStream

    Raises
    ------
    ValueError
        If `searched` has an unknown name.
    """
    unknown = set(searched) - set(SPACE)
    if unknown:
        raise ValueError(f"cannot search {', '.join(sorted(unknown))}: expected some of {', '.join(SPACE)}")

    def objective(trial):
        found = {name: SPACE[name](trial) for name in searched}
        train = TrackStream(list(prior), found.pop("batch", batch), device, options.seed, chunk)
        in_network = {name: found.pop(name) for name in list(found) if hasattr(track_options, name)}
        task = TrackTask(replace(track_options, **in_network), val)
        folder = runs / f"trial_{trial.number:04d}"
        net = fit(task, train, val, replace(options, **found), folder, device=device, overwrite=True)
        return validation(task, net, val)["loss"]

    complete = (optuna.trial.TrialState.COMPLETE,)
    done = len(study.get_trials(deepcopy=False, states=complete))
    if done < n_trials:
        enough = optuna.study.MaxTrialsCallback(n_trials, states=complete)
        study.optimize(objective, n_trials=2 * n_trials, callbacks=[enough], catch=DivergedError)
