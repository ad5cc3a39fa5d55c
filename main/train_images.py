"""Train a network that reads D from image sequences, on simulated ones.

python main/train_images.py --steps 12000 --minutes 60 --run runs/blur_net
python main/train_images.py --steps 12000 --run runs/blur_net --resume
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

from main.images.task import ImageOptions, ImageTask
from main.utils import distributed
from main.utils.config import add_options, check_number, read_options
from main.utils.training import Options, fit
from simulations.image_stream import ImageStream

VALIDATION_SEED = 987_654_321  # of the held-out sequences, the same for every run


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Parse the options and train; an option that cannot be used gives one sentence and exit code 2."""
    args = parse(arguments, prog)
    try:
        options, image_options = read_options(Options, args), read_options(ImageOptions, args)
        check_number("batch", args.batch, 1, 65536)
        check_number("val_batches", args.val_batches, 0, 10_000)
        device = distributed.join(args.device)
        stream = ImageStream(batch=args.batch, device=device, seed=options.seed)
        stream.split(distributed.rank(), distributed.world(), distributed.fewest)
        held_out = list(islice(ImageStream(batch=256, device=device, seed=VALIDATION_SEED), args.val_batches))
        fit(ImageTask(image_options), stream, held_out, options, args.run, args.resume, device, args.overwrite)
        if distributed.rank() == 0:
            print(f"run folder: {args.run}")
    except (ValueError, OSError) as error:
        print(f"train_images: {error}", file=sys.stderr)
        return 2
    finally:
        distributed.leave()
    return 0


def parse(arguments: list[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_argument_group("data and run")
    data.add_argument("--run", type=Path, default=Path("runs/images"), help="Run folder (default: %(default)s).")
    data.add_argument("--batch", type=int, default=64, help="Sequences per step, over all processes (default: 64).")
    data.add_argument("--val-batches", type=int, default=8, help="Held-out batches of 256 sequences (default: 8).")
    data.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu).")
    data.add_argument("--resume", action="store_true", help="Continue from the run folder's last.pt.")
    data.add_argument("--overwrite", action="store_true", help="Replace the run in the run folder.")
    add_options(parser.add_argument_group("network"), ImageOptions)
    add_options(parser.add_argument_group("training"), Options)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
