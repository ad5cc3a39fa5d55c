"""Score weights on the nine AnDi-2 benchmark experiments, beside a constant and a whole-track MSD fit.

python main/benchmark.py --weights NAME --out runs/benchmark    (5 fields of view each, made on first use)
python main/benchmark.py --weights NAME --out runs/tune --seed 2 --fit-penalty    (segmentation: fit, store)
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from main.utils.benchmark_data import generate, read_benchmark, write_submission
from main.utils.changepoints import segment_many
from main.utils.estimators import fit_msd
from main.utils.metrics import frame_scores, official_scores, score_table
from main.utils.penalty import fit_segmentation
from main.utils.postprocess import segment_m3

SIGMA = 0.12  # localisation error of the challenge, px
MSD_LAGS = 4
MSD_FLOOR = 1e-3  # px^2


def constant_segments(xy):
    """One segment: K = 1, alpha = 1, free."""
    return [dict(start=0, end=len(xy), k=1.0, alpha=1.0, state=2)]


def msd_segments(xy, sigma=SIGMA):
    """One segment from a line through the log mean squared displacement at lags 1-4, noise subtracted.

    Parameters
    ----------
    xy : (T, 2) array
        Positions, px.
    sigma : float
        Localisation error, px.

    Returns
    -------
    list of dict
        One segment; k in px^2/frame^alpha.
    """
    k, slope = fit_msd(xy, MSD_LAGS, sigma, MSD_FLOOR)
    alpha = float(np.clip(slope, 0.01, 1.99))
    return [dict(start=0, end=len(xy), k=k, alpha=alpha, state=3 if alpha >= 1.9 else 2)]


def predict(weights, tracks, device):
    """Frame-wise predictions of all tracks by named weights.

    Returns
    -------
    tuple
        list of Prediction, configuration of the weights.
    """
    from main.utils.inference import Predictor
    from main.utils.weights import load_weights

    nets, config = load_weights(weights, device)
    return Predictor(nets, config, device).predict(tracks, sigma=SIGMA, progress=True), config


def frame_table(table, preds):
    """Frame-wise errors per experiment as plain numbers (confusion as nested lists)."""
    result = {}
    for exp, index in table.groupby("exp").indices.items():
        rows = table.iloc[index]
        truths = [dict(k=r.k, alpha=r.alpha, state=r.state) for r in rows.itertuples()]
        scores = frame_scores(truths, [preds[i] for i in index])
        result[str(exp)] = scores | {"confusion": scores["confusion"].tolist()}
    return result


def show(name, scores):
    """Print one score table."""
    print(f"\n{name}")
    print(scores.to_string(float_format=lambda v: f"{v:.4f}"), flush=True)


def store_segmentation(weights, config):
    """Write the fitted segmentation into the weights' config.json; tensors and sha256 stay as they are."""
    from main.utils.weights import read_config, weights_folder, write_config

    folder = weights_folder(weights)
    write_config(folder, read_config(folder) | {"segmentation": config["segmentation"]})
    print(f"segmentation {config['segmentation']} stored in {folder / 'config.json'}")


def run(args):
    """Generate (once), predict, segment, score, print and store.

    Returns
    -------
    dict
        Scores by predictor, as written to ``benchmark.json``.
    """
    out = Path(args.out)
    table = read_benchmark(generate(out, args.fovs, args.seed, args.published))
    tracks = list(table["xy"])
    print(f"{len(tracks)} tracks, {table['exp'].nunique()} experiments, {args.fovs} fields of view each")
    scores = {}
    if not args.fit_penalty:
        for name, estimate in (("constant", constant_segments), ("msd", msd_segments)):
            scores[name] = score_table(table, [estimate(xy) for xy in tracks], official_scores)
    frames = {}
    for name in args.weights:
        start = time.perf_counter()
        preds, config = predict(name, tracks, args.device)
        if args.fit_penalty:
            config = fit_segmentation(preds, table, config)
            store_segmentation(name, config)
        m3 = args.method == "m3"
        segments = [segment_m3(pred) for pred in preds] if m3 else segment_many(preds, config)
        print(f"{name}: {len(tracks) / (time.perf_counter() - start):.0f} tracks/s")
        label = Path(name).name + ("-m3" if m3 else "")
        write_submission(out / "submissions" / label, table, segments)
        scores[label] = score_table(table, segments, official_scores)
        frames[label] = frame_table(table, preds)
    for name, result in scores.items():
        show(name, result)
    report = {
        "seed": "published" if args.published else args.seed,
        "fovs": args.fovs,
        "segments": {name: json.loads(s.to_json(orient="index")) for name, s in scores.items()},
        "frames": frames,
    }
    (out / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nscores in {out / 'benchmark.json'}")
    return report


def parse(argv=None):
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", default="runs/benchmark", help="folder of the data (made once) and the scores"
    )
    parser.add_argument("--weights", nargs="*", default=[], help="names or folders of weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fovs", type=int, default=5, help="fields of view per experiment (published: 30)")
    parser.add_argument("--published", action="store_true", help="the published seeds instead of --seed")
    parser.add_argument(
        "--fit-penalty", action="store_true", help="fit the segmentation on these data and store it"
    )
    parser.add_argument(
        "--method", choices=["kernel", "m3"], default="kernel", help="segmentation (m3: A0's)"
    )
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def main(argv=None):
    """Run the benchmark; a missing or corrupted file gives one sentence and exit code 2."""
    try:
        run(parse(argv))
    except (FileNotFoundError, ValueError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
