"""Estimate D of the molecule of each image block of a folder: `python main/predict_images.py -r FOLDER --out DIR`."""

import argparse
import json
import math
import sys
from pathlib import Path

from tqdm import tqdm

from main.images.blocks import Block, check_block, find_blocks, find_first_name, name_block, settle_unit
from main.tracks.options import EXPOSURES, FRAME_INTERVALS_S, PIXEL_SIZES_UM, check_number
from main.tracks.results.folder import add_files, claim_new_results
from main.utils.errors import InputError
from main.utils.files import PACKAGES, sha256, version
from simulations.arguments import Parser
from simulations.claims import HIDDEN

DESCRIPTION = """Estimate the diffusion coefficient D of one molecule from each TIFF block of a folder: some frames in
which the molecule is blurred by its own motion. Writes predictions.json, predictions.npy (D, lower and upper end of the
90 % interval of each file, in the order of the names), figures and run.json."""
PROGRAM = "predict_images.py"
RECORD = "run.json"
CAMERA_EXAMPLE = "gain=G,offset=O,read=E,excess=1|2"
CAMERA_DEFAULTS = {"read": 0.0, "excess": 1.0}
PSF_RANGE_PX = (0.3, 6.0)
MAX_SENTENCES = 6  # of one kind that are printed; run.json has all
NETWORK = "d"  # name of the network in a set of weights


def make_parser(prog: str = PROGRAM) -> Parser:
    """Make the parser of the command line."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add("-r", "--real-data-path", metavar="FOLDER", type=Path, required=True, help="Folder of TIFF files. Required.")
    add("-a", "--all", action="store_true", help="Predict all files. Default: those of the first block name, for "
        "example block-001.")  # fmt: skip
    add("--weights", metavar="NAME_OR_PATH", help="Weights of a network of images. Default: none; D is that of the "
        "likelihood of the path and of the shape of the spots.")  # fmt: skip
    add("--pixel-size", type=float, metavar="UM", help="Size of a pixel in micrometres. Default: what the files "
        "declare; without it, D is in px^2.")  # fmt: skip
    add("--frame-interval", type=float, metavar="S", help="Time between frames in seconds. Default: what the files "
        "declare; without it, D is per frame.")  # fmt: skip
    add("--exposure", type=float, default=1.0, metavar="SHARE", help="Share of the frame interval during which the "
        "shutter is open, 0 to 1. Default: %(default)s.")  # fmt: skip
    add("--psf-sigma", type=float, metavar="UM", help="Standard deviation of the spot of a molecule at rest, in "
        "micrometres (in pixels where the pixel size is not known). Default: estimated from the spots.")  # fmt: skip
    add("--camera", type=parse_camera, metavar=CAMERA_EXAMPLE, help="Counts per photoelectron, counts without light, "
        "read noise in photoelectrons (default 0), and 2 for an EMCCD (default 1). Default: estimated from the "
        "images.")  # fmt: skip
    add("--out", metavar="DIR", type=Path, required=True, help="Folder for the results. Required.")
    add("--overwrite", action="store_true", help="Replace the results of an earlier run in the folder.")
    return parser


def parse_camera(text: str) -> dict[str, float]:
    """Parse `gain=G,offset=O,read=E,excess=1|2`.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not of this form, or a value is out of range.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        told = {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        told = {}
    values = CAMERA_DEFAULTS | told
    if len(told) < len(pairs) or set(values) != {"gain", "offset", *CAMERA_DEFAULTS}:
        raise argparse.ArgumentTypeError(f"'{text}' cannot be used, expected {CAMERA_EXAMPLE}")
    if not (
        0 < values["gain"] < math.inf
        and math.isfinite(values["offset"])
        and 0 <= values["read"] < math.inf
        and values["excess"] in (1, 2)
    ):
        raise argparse.ArgumentTypeError(
            f"'{text}' cannot be used, expected a gain above 0, a read noise of 0 or more and an excess of 1 or 2"
        )
    return values


def check_options(args) -> None:
    """Raise InputError if an option cannot be used."""
    for name, allowed, unit in (("pixel_size", PIXEL_SIZES_UM, "um"), ("frame_interval", FRAME_INTERVALS_S, "s")):
        if getattr(args, name) is not None:
            check_number(f"--{name.replace('_', '-')}", getattr(args, name), allowed, unit)
    if args.psf_sigma is not None and not (math.isfinite(args.psf_sigma) and args.psf_sigma > 0):
        raise InputError(f"--psf-sigma {args.psf_sigma:g}: expected a number above 0.")
    check_number("--exposure", args.exposure, EXPOSURES, "of the frame interval")
    if args.weights is not None:
        from main.utils.weights import weights_folder  # imports torch

        try:
            weights_folder(args.weights)
        except ValueError as error:
            raise InputError(f"--weights: {error}") from error
    record = args.out / RECORD
    if args.out.is_dir() and args.overwrite and any(path.name != HIDDEN for path in args.out.iterdir()):
        try:
            ours = json.loads(record.read_text(encoding="utf-8")).get("program") == PROGRAM
        except (OSError, ValueError, AttributeError):
            ours = False
        if not ours:
            raise InputError(f"{args.out}: holds files but no results of {PROGRAM}; give another folder to --out.")


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Predict the blocks of one folder.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    prog : str, optional
        Name of the command that calls this one, for messages.

    Returns
    -------
    int
        0, or 2 with one sentence on stderr if the folder, a file or an option cannot be used; nothing is then written.
    """
    args = make_parser(prog or PROGRAM).parse_args(arguments)
    try:
        check_options(args)
        paths = find_blocks(args.real_data_path)
        with claim_new_results(args.out, args.overwrite) as temporary:
            add_files(args.out, temporary, run(paths, args, temporary))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{args.out}: cannot be written ({error.strerror or error}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"interrupted: {str(error) or 'nothing was written'}.", file=sys.stderr)
        return 130
    print(f"{args.out}: written")
    return 0


def run(paths: list[Path], args, temporary: Path) -> dict:
    """Analyse the files, write the results into a folder, and print what was found; returns the content of run.json."""
    blocks = [check_block(path) for path in tqdm(paths, desc="read", disable=None)]
    pixel = settle_unit(blocks, "pixel_size_um", "--pixel-size", args.pixel_size)
    interval = settle_unit(blocks, "frame_interval_s", "--frame-interval", args.frame_interval)
    psf_px = None if args.psf_sigma is None else args.psf_sigma / (pixel or 1.0)
    if psf_px is not None and not PSF_RANGE_PX[0] <= psf_px <= PSF_RANGE_PX[1]:
        raise InputError(
            f"--psf-sigma {args.psf_sigma:g}: is {psf_px:.3g} pixels, expected {PSF_RANGE_PX[0]:g} to "
            f"{PSF_RANGE_PX[1]:g}; give it in {'um' if pixel else 'pixels'}."
        )
    # torch takes seconds to import; a file or an option that cannot be used is refused before
    from main.images.localise import Camera  # imports torch
    from main.images.predict import analyse  # imports torch
    from main.images.results import Scale, write_results  # imports torch

    told = args.camera
    camera = None if told is None else Camera(told["offset"], told["gain"], told["read"], told["excess"])
    net = None if args.weights is None else load_network(args.weights)
    scale, chosen = Scale(pixel, interval), choose(blocks, args.all)
    predictions, optics = analyse(blocks, chosen, args.exposure, camera, psf_px, net)
    shown = [blocks[i] for i in chosen]
    write_results(temporary, shown, predictions, scale)
    record = make_record(args, blocks, shown, predictions, optics, scale)
    describe(record, optics)
    return record


def make_record(args, blocks, shown, predictions, optics, scale) -> dict:
    """Return the content of run.json; `blocks` are all files that were read, `shown` those that were predicted."""
    from main.images.predict import WARNINGS  # imports torch
    from main.images.results import count, describe_optics  # imports torch
    from main.utils.weights import weights_folder  # imports torch

    counts = {"files_read": len(blocks)} | count(predictions)
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    weights = None
    if args.weights is not None:
        folder = weights_folder(args.weights)
        weights = {"folder": str(folder), "sha256": sha256(folder / f"{NETWORK}.safetensors")}
    return {
        "program": PROGRAM,
        "code_version": version("tracewise"),
        "versions": {name: version(name) for name in (*PACKAGES, "tifffile")},
        "options": options,
        "units": {"d": scale.unit, "photons": "photons of a frame", "background": "photons of a pixel and frame"},
        "pixel_size_um": scale.pixel_size_um,
        "frame_interval_s": scale.frame_interval_s,
        "exposure": args.exposure,
        "intervals": "90 %",
        "estimator": "likelihood of path and shapes" if weights is None else "network",
        "weights": weights,
        "optics": describe_optics(shown, optics, scale),
        "counts": counts,
        "warnings": {name: WARNINGS[name] for name in counts["warnings"]},
        "notes": [sentence for block in blocks for sentence in block.warnings],
        "inputs": [{"path": str(block.path), "sha256": block.sha256, "shape": block.shape} for block in blocks],
    }


def describe(record: dict, optics: list) -> None:
    """Print what was found."""
    counts = record["counts"]
    for sentence in record["notes"][:MAX_SENTENCES]:
        print(sentence, file=sys.stderr)
    if record["weights"] is None:
        print("no --weights: D is that of the likelihood of the path and of the shape of the spots")
    if record["units"]["d"] != "um^2/s":
        print("pixel size and frame interval are not both known: D is in px^2/frame")
    unit = "um" if record["pixel_size_um"] else "px"
    print(f"exposure: {record['exposure']:g} of the frame interval")
    if len(record["optics"]) > MAX_SENTENCES:
        print(
            f"{len(record['optics'])} cameras: the backgrounds of the files are not those of one camera; see {RECORD}"
        )
    else:
        estimates = {id(each): each.estimate for each in optics}
        for each, estimate in zip(record["optics"], estimates.values(), strict=True):
            value, error = each[f"psf_sigma_{unit}"], each[f"psf_sigma_{unit}_error"]
            known = "told" if error == 0 else f"+- {error:.2g}" if each["psf_identified"] else "not identified"
            named = f"{each['acquisition']}: " if each["acquisition"] else ""
            print(f"{named}{each['n_files']} files, point spread function: sigma {value:.4g} {unit} ({known})")
            if estimate is not None:
                print(estimate.describe())
    print(f"{counts['files']} files, {counts['estimated']} with an estimate of D [{record['units']['d']}]")
    for name, number in counts["warnings"].items():
        print(f"  {name}: {number} files; {record['warnings'][name]}")


def choose(blocks: list[Block], everything: bool) -> list[int]:
    """Return the numbers of the blocks that are predicted, and say which."""
    if everything:
        return list(range(len(blocks)))
    first = find_first_name([block.path for block in blocks])
    chosen = [i for i, block in enumerate(blocks) if name_block(block.path) == first]
    if len(chosen) < len(blocks):
        print(f"only {first}: {len(chosen)} of {len(blocks)} files; -a predicts all")
    return chosen


def load_network(name: str):
    """Load the network of a set of weights; InputError if it is none of images."""
    # torch takes seconds to import
    from main.utils.weights import load_weights

    try:
        nets, config = load_weights(name)
    except ValueError as error:
        raise InputError(f"--weights: {error}") from error
    if NETWORK not in nets or config["nets"][NETWORK].get("family") != "images":
        raise InputError(f"--weights {name}: holds no network of images; give weights that train_images.py trained.")
    return nets[NETWORK]


if __name__ == "__main__":
    sys.exit(main())
