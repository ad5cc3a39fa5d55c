"""Weights on disk: safetensors files, and a config.json with their architecture and their sha256."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from main.models import build
from main.utils.files import sha256, write_atomically

SECTIONS = ("nets", "sha256", "training_range", "segmentation", "calibration")  # names and values in config.json
WEIGHTS_DIR = Path(__file__).resolve().parents[1] / "models" / "weights"  # shipped with the package
NEW_WEIGHTS = Path("weights")  # in the working directory


def new_weights_folder(name: str, overwrite: bool = False) -> Path:
    """Folder for a new set of weights: weights/NAME of the working directory, or a path, which has a slash.

    Raises
    ------
    ValueError
        If the name is that of a shipped set, or the folder holds files: a set of weights and `overwrite` is not set,
        or other ones.
    """
    folder = Path(name) if "/" in name else NEW_WEIGHTS / name
    if "/" not in name and (name in ("", ".", "..") or name in shipped_names()):
        raise ValueError(f"--name {name}: is a name of shipped weights or none at all, give another name, or a path")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, give another name")
    names = {path.name for path in folder.glob("*") if not path.name.startswith(".")}
    if "config.json" in names and not overwrite:
        raise ValueError(f"{folder}: holds weights already; replace them with --overwrite, or give another name")
    if names and "config.json" not in names:
        raise ValueError(f"{folder}: holds files but no weights (config.json is missing), give another name")
    return folder


def save_weights(folder: Path, nets: dict[str, torch.nn.Module], config: dict) -> None:
    """Write one safetensors file per network and config.json.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    nets : dict
        Networks by name: {"k", "alpha", "state"} or {"combined"}.
    config : dict
        `features` (kind), `nets` (for each name the configuration that `models.build` takes), and anything else that
        describes the set; `sha256` is added.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, net in nets.items():
        path = folder / f"{name}.safetensors"
        save_file({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}, path)
        hashes[name] = sha256(path)
    write_config(folder, {**config, "sha256": hashes})


def write_config(folder: Path, config: dict) -> None:
    """Write config.json, whole or not at all."""
    text = json.dumps(config, indent=1) + "\n"
    write_atomically(Path(folder) / "config.json", lambda part: part.write_text(text))


def read_config(folder: Path) -> dict:
    """Read config.json of a folder of weights.

    Raises
    ------
    ValueError
        If it is missing, is not JSON, or has something else than names and values where these belong.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path.parent}: no weights here (config.json is missing)") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}); name other weights") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{path}: not a JSON file; restore it or name other weights") from None
    parts = [config, *(config.get(name, {}) for name in SECTIONS)] if isinstance(config, dict) else [config]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"{path}: is no configuration of weights; restore it or name other weights")
    return config


def weights_folder(name: str) -> Path:
    """A shipped set by name, or a folder by path; what has a slash is a path.

    Raises
    ------
    ValueError
        If there is neither.
    """
    for folder in (Path(name),) if "/" in name else (WEIGHTS_DIR / name, Path(name)):
        if os.path.exists(folder / "config.json"):  # False where a name is too long, unlike that of pathlib
            return folder
    raise ValueError(
        f"no weights named {name!r}: give a folder with config.json, or one of {', '.join(shipped_names())}."
    )


def shipped_names() -> list[str]:
    """Names of the weights that the package holds."""
    return sorted(path.parent.name for path in WEIGHTS_DIR.glob("*/config.json"))


def writable_weights(name: str) -> Path:
    """Folder of a set of weights that a command changes: given by its path, because names are those of the package.

    Raises
    ------
    ValueError
        If there are no weights, or they are given by a name.
    """
    folder = weights_folder(name)
    if folder == WEIGHTS_DIR / name and not Path(name).is_absolute():
        raise ValueError(
            f"--weights {name}: this would change the weights of the package; copy the folder {folder} and give the "
            "path of the copy"
        )
    return folder


def load_weights(name: str, device: str = "cpu") -> tuple[dict[str, torch.nn.Module], dict]:
    """Networks of a shipped set or a folder, ready to infer.

    Returns
    -------
    nets : dict of networks in evaluation mode
    config : dict

    Raises
    ------
    ValueError
        If the set is not found, or a file is missing, differs from its sha256 or does not fit its architecture.
    """
    folder = weights_folder(str(name))
    config = read_config(folder)
    nets = {}
    for key, options in config["nets"].items():
        path = folder / f"{key}.safetensors"
        if not path.is_file():
            raise ValueError(f"{path}: is missing, copy the folder of weights again.")
        if sha256(path) != config["sha256"][key]:
            raise ValueError(f"{path}: weights file is corrupted (its sha256 is not the one in config.json)")
        try:
            with torch.device("meta"):  # shapes without memory
                n_values = sum(value.numel() for value in build(options).parameters())
            if n_values > path.stat().st_size:  # a value takes two or four bytes
                raise RuntimeError(f"{n_values:,} values in a file of {path.stat().st_size:,} bytes")
            net = build(options)
            net.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, MemoryError, ValueError) as error:  # RuntimeError: of torch
            raise ValueError(
                f"{path}: these weights do not fit the network of config.json ({str(error).rstrip('.')})"
            ) from None
        nets[key] = net.to(device).eval()
    return nets, config
