"""Score methods side by side on the nine experiments of the AnDi-2 challenge, with intervals over tracks.

python main/benchmark.py --weights default fast --seed 71001 --fovs 10 --out runs/development
python main/benchmark.py --weights fast --published --fovs 30 --out runs/published    (once per release)
python main/benchmark.py --weights weights/mine --seed 71002 --out runs/tune --fit-penalty    (segmentation: fit, store)

The tracks are made once, on first use. Videos (track 1 of the challenge) are skipped. The command prints its tables as
Markdown and writes them to OUT/benchmark.md, the numbers to benchmark.json, figures to figures/, and the predicted
segments in the format of the challenge to submissions/.
"""

from __future__ import annotations

import argparse
import sys

from main.tracks.benchmark.compute import CLASSICAL, NETWORK, TASKS, BenchmarkOptions, run
from main.utils.config import check_number
from main.utils.weights import read_config, weights_folder, writable_weights
from simulations.arguments import Parser

SEEDS, FIELDS = (0, 2**32 - 1), (1, 1000)  # smallest and largest


def parse(arguments: list[str] | None = None, prog: str | None = None) -> BenchmarkOptions:
    """Parse the command line."""
    parser = Parser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = BenchmarkOptions()
    parser.add_argument(
        "--out",
        default=default.out,
        metavar="DIR",
        help="folder of the tracks, which are made once, and of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        nargs="*",
        default=default.weights,
        metavar="NAME",
        help="shipped names or folders of weights to score (default: none)",
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="seed of the simulated tracks (default: %(default)s)"
    )
    parser.add_argument(
        "--fovs",
        type=int,
        default=default.fovs,
        metavar="N",
        help="fields of view of each experiment; the published benchmark has 30 (default: %(default)s)",
    )
    parser.add_argument(
        "--published", action="store_true", help="make the tracks with the published seeds; --seed is not used"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=CLASSICAL + NETWORK,
        default=default.methods,
        help="methods to score (default: all). network: --weights with the segmentation of this project; m3: --weights "
        "with the segmentation of the M3 challenge entry; hmm: an oracle that knows the parameters of each experiment; "
        "cve, mle: K in the true segments; constant, msd, windows: methods that learn nothing",
    )
    parser.add_argument(
        "--adapt",
        choices=["none", "sample"],
        default=default.adapt,
        help="sample: also analyse all tracks of an experiment together, if the weights can (default: %(default)s)",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        default=default.tasks,
        help="tasks of the challenge to score (default: all). single: segments of every track; ensemble: states of "
        "each experiment",
    )
    parser.add_argument(
        "--fit-penalty",
        action="store_true",
        help="first fit the options of the segmentation on these tracks, and store them in config.json of the weights, "
        "which are then given by the path of their folder",
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default=default.device,
        help="device of the networks (default: %(default)s)",
    )
    return BenchmarkOptions(**vars(parser.parse_args(arguments)))


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Run the benchmark; a file or option that cannot be used gives one sentence and exit code 2."""
    options = parse(arguments, prog)
    try:
        check_number("seed", options.seed, *SEEDS)
        check_number("fovs", options.fovs, *FIELDS)
        for name in options.weights:
            read_config(writable_weights(name) if options.fit_penalty else weights_folder(name))
        if options.fit_penalty and not options.weights:
            raise ValueError(
                "--fit-penalty fits the segmentation of weights: give the path of their folder to --weights"
            )
        run(options)
    except (OSError, ValueError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
