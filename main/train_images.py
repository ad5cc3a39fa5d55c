"""Train a network that reads D from image sequences, on simulated ones.

python main/train_images.py --steps 12000 --minutes 60 --run runs/blur_net
python main/train_images.py --steps 12000 --run runs/blur_net --resume
python main/train_images.py --model resnet_2d --steps 240 --run runs/resnet_2d
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

from main.images.task import ImageOptions, ImageTask
from main.models.images.networks import ORIGINALS
from main.utils import distributed
from main.utils.config import add_options, check_number, read_options
from main.utils.training import Options, fit
from simulations.arguments import Parser
from simulations.image_sets import FIELD_PX, PUBLISHED, make_image_set
from simulations.image_stream import ImagePrior, ImageStream

PUBLISHED_OPTIONS = {"lr": 1e-6, "weight_decay": 0.0, "schedule": "trapezoid"}  # Adam at a level rate
HELD_OUT_FIELDS, FEWER_FIELDS = 16, 64  # full fields of a batch, and in place of 256 windows: they need much memory
VALIDATION_SEED = 987_654_321  # of the held-out sequences, the same for every run


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Parse the options and train; an option that cannot be used gives one sentence and exit code 2."""
    args = parse(arguments, prog)
    try:
        options, image_options = read_options(Options, args), read_options(ImageOptions, args)
        check_number("batch", args.batch, 1, 65536)
        check_number("val_batches", args.val_batches, 0, 10_000)
        device = distributed.join(args.device)
        stream = make_stream(image_options, args.batch, device, options.seed)
        stream.split(distributed.rank(), distributed.world(), distributed.fewest)
        held_out = make_held_out(image_options, args.val_batches, device)
        if image_options.as_published:
            options = replace(options, **PUBLISHED_OPTIONS)
        fit(ImageTask(image_options), stream, held_out, options, args.run, args.resume, device, args.overwrite)
        if distributed.rank() == 0:
            print(f"run folder: {args.run}")
    except (ValueError, OSError) as error:
        print(f"train_images: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.leave()
    return 0


def make_stream(options: ImageOptions, batch: int, device="cpu", seed: int = 0) -> ImageStream:
    """Make the stream on which a network is trained.

    The networks of the original method take full fields of 16 frames; as published, all of one D.
    """
    if options.model not in ORIGINALS:
        return ImageStream(batch=batch, device=device, seed=seed)
    prior = PUBLISHED if options.as_published else ImagePrior(sixteen=1.0)
    full = {"size": FIELD_PX, "windows": False, "subpositions": options.as_published}
    return ImageStream(prior, batch=batch, device=device, seed=seed, **full)


def make_held_out(options: ImageOptions, n_batches: int, device="cpu") -> list[dict]:
    """Make the held-out batches: of the stream, or the 250 sequences by the original rule."""
    if options.as_published:
        parts = islice(make_image_set("as_published"), n_batches)
        return [{name: value.to(device) for name, value in part.items()} for part in parts]
    size, n = 256, n_batches
    if options.model in ORIGINALS:
        size, n = HELD_OUT_FIELDS, n_batches * FEWER_FIELDS // HELD_OUT_FIELDS
    return list(islice(make_stream(options, size, device, VALIDATION_SEED), n))


def parse(arguments: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data and run")
    data.add_argument("--run", type=Path, default=Path("runs/images"), help="Run folder (default: %(default)s).")
    data.add_argument("--batch", type=int, default=64, help="Sequences per step, over all processes (default: 64).")
    data.add_argument(
        "--val-batches",
        type=int,
        default=8,
        help="Held-out batches of 256 sequences, or of 64 full fields (default: 8).",
    )
    data.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu).")
    data.add_argument("--resume", action="store_true", help="Continue from the run folder's last.pt.")
    data.add_argument("--overwrite", action="store_true", help="Replace the run in the run folder.")
    add_options(parser.add_argument_group("network"), ImageOptions)
    add_options(parser.add_argument_group("training"), Options)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
