"""Random segments of tracks and faulty predictions of them, for the tests of the scores."""

import numpy as np

from main.tracks.inference.segments import Segment


def random_segments(rng, n_frames, max_changes):
    """Segments of at least 3 frames with random values; some trapped."""
    places = np.arange(3, n_frames - 2, 3)
    chosen = rng.choice(places, min(rng.integers(max_changes + 1), len(places)), replace=False)
    edges = [0, *sorted(chosen.tolist()), n_frames]
    segments = []
    for start, end in zip(edges, edges[1:], strict=False):
        state = int(rng.integers(4))
        k, alpha = (0.0, 0.0) if state == 0 else (float(10 ** rng.normal()), float(rng.uniform(0.1, 1.9)))
        segments.append(Segment(start=start, end=end, k=k, alpha=alpha, state=state))
    return segments


def jittered(rng, segments):
    """The same segments with moved, dropped and invented changepoints and noisy values."""
    n_frames = segments[-1].end
    ends = [s.end + int(rng.integers(-14, 15)) for s in segments[:-1] if rng.random() < 0.8]
    ends = sorted({e for e in ends + rng.integers(1, n_frames, rng.integers(0, 2)).tolist() if 0 < e < n_frames})
    parts, start = [], 0
    for end in [*ends, n_frames]:
        source = segments[int(rng.integers(len(segments)))]
        parts.append(
            Segment(
                start=start,
                end=end,
                k=source.k * 1.3,
                alpha=source.alpha * 0.9,
                state=source.state if rng.random() < 0.8 else 2,
            )
        )
        start = end
    return parts
