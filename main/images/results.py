"""What is written of the blocks of a folder: predictions.json, predictions.npy, figures, and the record of the run."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from main.images.blocks import Block, read_frames
from main.images.figures import SHOWN_BLOCKS, ShownBlock, plot_images, plot_predictions
from main.images.predict import WARNINGS, Optics, Prediction
from main.utils.plotting import save

MAX_IMAGES_PNG_BYTES = 400_000
DIGITS = 6  # significant ones of numbers in JSON


@dataclass(frozen=True)
class Scale:
    """Pixel size, um, and frame interval, s; D is in um^2/s if both are known, else in px^2/frame."""

    pixel_size_um: float | None
    frame_interval_s: float | None

    @property
    def unit(self) -> str:
        """Unit of D."""
        return "um^2/s" if self._physical else "px^2/frame"

    @property
    def d_name(self) -> str:
        """Name of D in the results."""
        return "d_um2_per_s" if self._physical else "d_px2_per_frame"

    @property
    def factor(self) -> float:
        """D in `unit` over D in px^2/frame."""
        return self.pixel_size_um**2 / self.frame_interval_s if self._physical else 1.0

    @property
    def _physical(self) -> bool:
        return self.pixel_size_um is not None and self.frame_interval_s is not None

    def convert_psf(self, value: float) -> dict[str, float]:
        """Width of a point spread function, px, by name of its unit."""
        if self.pixel_size_um is None:
            return {"psf_sigma_px": value}
        return {"psf_sigma_um": value * self.pixel_size_um}


def describe_prediction(prediction: Prediction, scale: Scale) -> dict:
    """Return the numbers of one file for predictions.json; null where there is no estimate."""
    p = prediction
    d = {scale.d_name: p.d, "lo": p.lo, "hi": p.hi, "d_path": p.d_path}
    d |= {"d_path_lo": p.d_path_lo, "d_path_hi": p.d_path_hi}
    values = {name: value * scale.factor for name, value in d.items()}
    values |= {"photons": p.photons, "background": p.background} | scale.convert_psf(p.psf)
    rounded = {name: round_number(value) for name, value in values.items()}
    return rounded | {"n_frames": p.n_frames, "n_seen": p.n_seen, "warnings": p.warnings}


def round_number(value: float) -> float | None:
    """Round to `DIGITS` significant digits; None for what is no finite number."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def write_results(folder: Path, blocks: list[Block], predictions: list[Prediction], scale: Scale) -> None:
    """Write predictions.json, predictions.npy and the figures."""
    rows = {
        block.name: describe_prediction(prediction, scale)
        for block, prediction in zip(blocks, predictions, strict=True)
    }
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    (folder / "predictions.json").write_text(text, encoding="utf-8")
    d = np.array([[p.d, p.lo, p.hi] for p in predictions]) * scale.factor
    np.save(folder / "predictions.npy", d)
    path = np.array([[p.d_path, p.d_path_lo, p.d_path_hi] for p in predictions]) * scale.factor
    warned = np.array([bool(p.warnings) for p in predictions])
    shown = [
        ShownBlock(block.name, read_frames(block), p.position, _describe_d(p, scale))
        for block, p in zip(blocks[:SHOWN_BLOCKS], predictions, strict=False)
    ]
    save(
        plot_predictions(d, path, warned, scale.unit),
        "predictions",
        folder,
        f"D of {len(blocks)} blocks from their images, against D from the path of the fitted positions alone; 90 % "
        "intervals.",
    )
    save(
        plot_images(shown, scale.pixel_size_um, scale.frame_interval_s),
        "images",
        folder,
        f"The first {len(shown)} of {len(blocks)} blocks: mean of all frames with the fitted path, and frames cut "
        "around the path, with the fitted position; no cross where no spot was found.",
        MAX_IMAGES_PNG_BYTES,
    )


def _describe_d(p: Prediction, scale: Scale) -> str:
    if not math.isfinite(p.d):
        return "no molecule seen"
    d, lo, hi = (value * scale.factor for value in (p.d, p.lo, p.hi))
    unit = scale.unit.replace("um^2", "µm²").replace("px^2", "px²")
    return f"D = {d:.3g} [{lo:.2g}, {hi:.2g}] {unit}, {p.photons:.0f} photons, {p.n_seen} of {p.n_frames} frames"


def describe_optics(blocks: list[Block], optics: list[Optics], scale: Scale) -> list[dict]:
    """Return what is known of each camera and point spread function, with errors, and of how many files."""
    made: dict[int, dict] = {}
    for block, each in zip(blocks, optics, strict=True):
        if id(each) not in made:
            psf = scale.convert_psf(each.psf.value)
            errors = {f"{name}_error": value for name, value in scale.convert_psf(each.psf.error).items()}
            rounded = {name: round_number(value) for name, value in (psf | errors).items()}
            estimate = each.estimate
            made[id(each)] = {
                "acquisition": block.acquisition,
                "n_files": 0,
                "camera": _finite(asdict(each.camera)),
                "camera_estimate": None if estimate is None else _finite(asdict(estimate)),
                **rounded,
                "psf_identified": each.psf.identified,
            }
        made[id(each)]["n_files"] += 1
    return list(made.values())


def _finite(values: dict) -> dict:
    """Return a nested dict with plain numbers, and null for those that JSON does not have."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    for name, value in plain.items():
        if isinstance(value, dict):
            plain[name] = _finite(value)
        elif isinstance(value, float):
            plain[name] = round_number(value)
    return plain


def count(predictions: list[Prediction]) -> dict:
    """Count files, those with an estimate, and warnings."""
    warnings = Counter(name for p in predictions for name in p.warnings)
    return {
        "files": len(predictions),
        "estimated": sum(math.isfinite(p.d) for p in predictions),
        "warnings": {name: warnings[name] for name in WARNINGS if warnings[name]},
    }
