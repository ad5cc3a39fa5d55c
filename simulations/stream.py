"""An endless stream of simulated tracks, made on the device that trains on them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import torch

from simulations.batched import simulate_batched
from simulations.missing_frames import with_gaps
from simulations.parameters import MODELS, PRIORS, Prior, Range, sample_worlds
from simulations.resumable import ResumableBatches
from simulations.worlds import FRAMES, MIN_FRAMES, Worlds

MODEL_SHARES = dict(zip(MODELS, (0.1, 0.3, 0.25, 0.25, 0.1), strict=True))  # shares of the tracks of a chunk
_TRACKS_PER_WORLD = {  # mean number of tracks inside the field of view, priors with the default numbers of particles
    "single_state": 0.8,
    "multi_state": 0.9,
    "immobile_traps": 13.0,
    "dimerization": 50.0,
    "confinement": 12.0,
}
_TRACKS_PER_ANDI2_WORLD = 25.0
SAMPLE_SIZES = {1: 0.2, 4: 0.1, 16: 0.25, 64: 0.45}  # tracks per sample -> share of worlds cut into such samples
MIXED_WORLDS, MIX_SIZES = 0.4, (2, 3, 5, 9)  # share of worlds whose tracks are mixed; number of worlds in a mixture
SAMPLE_K_SD = Range(0.02, 5.0, log=True)  # sd of K over its mean, between the particles of a world of `SampleStream`


class TrackStream(ResumableBatches):
    """Padded batches of newly simulated tracks of all models; tracks of similar length share a batch.

    Chunk i of the stream depends on the seed and i alone, so a stream resumes exactly where it stopped. Memory holds
    two chunks: the one in use and the next, which is simulated meanwhile (on a GPU in a separate CUDA stream).

    Parameters
    ----------
    prior : str or Prior or list of these
        Names in `PRIORS`; several are mixed in equal shares unless `shares` is given.
    batch : int
        Tracks per batch.
    device : str or torch.device
    seed : int
    chunk : int
        Tracks simulated at once; at least two batches.
    shares : sequence of float, optional
        Share of each prior.
    unknown_sigma : float
        Share of tracks whose localisation error is hidden (NaN).
    gaps : float
        Share of tracks with missing frames. Above 0, batches hold `seen` (see `simulations.missing_frames.with_gaps`).

    Raises
    ------
    ValueError
        If a prior is not known.
    """

    n_particles = None  # of each world; None: the number of the prior or the model

    def __init__(
        self, prior="broad", batch=256, device="cpu", seed=0, chunk=4096, shares=None, unknown_sigma=0.4, gaps=0.0
    ):
        self.priors = [prior] if isinstance(prior, (str, Prior)) else list(prior)
        self.shares = np.ones(len(self.priors)) if shares is None else np.asarray(shares, float)
        self.shares = self.shares / self.shares.sum()
        self.batch, self.device, self.seed, self.unknown_sigma = batch, torch.device(device), seed, unknown_sigma
        self.gaps = gaps
        self.chunk = max(chunk, 2 * batch)
        self.side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        for known in self.priors:
            if isinstance(known, str) and known not in PRIORS:
                raise ValueError(f"unknown prior {known!r}: expected a Prior or one of {', '.join(PRIORS)}")
        self.settings = {  # a run folder records these; they must not change when the run is resumed
            "priors": [p if isinstance(p, str) else asdict(p) for p in self.priors],
            "shares": self.shares.tolist(),
            "batch": batch,
            "chunk": self.chunk,
            "seed": seed,
            "unknown_sigma": unknown_sigma,
            "models": MODEL_SHARES,
            "n_frames": [MIN_FRAMES, max(getattr(PRIORS.get(p, p), "n_frames", FRAMES) for p in self.priors)],
            **({"gaps": gaps} if gaps else {}),
        }

    def _batches(self, chunk: int) -> list:
        """Functions that make the batches of one chunk, from short tracks to long ones."""
        with torch.cuda.stream(self.side):  # parallel to the training; without a GPU this has no effect
            tracks = self.simulate_chunk(chunk)
            del tracks["world"]
            order = tracks["length"].argsort()
            groups = [order[i : i + self.batch] for i in range(0, len(order) - self.batch + 1, self.batch)]
            longest = tracks["length"][order].tolist()[self.batch - 1 :: self.batch]
        if self.side:
            self.side.synchronize()

        def take(i):
            if self.side:  # keep this memory until the training, in another CUDA stream, has read it
                for values in (order, *tracks.values()):
                    values.record_stream(torch.cuda.current_stream(self.device))
            return {n: _trim(v[groups[i]], longest[i]) for n, v in tracks.items()}

        return [lambda i=i: take(i) for i in range(len(groups))]

    def _ordered(self, batches: list, n: int, chunk: int) -> list:
        """`n` batches of all lengths in random order; at each step all processes have tracks of similar length."""
        shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(chunk))
        return [batches[int(i) * len(batches) // n] for i in shuffled]

    def _worlds(self, prior, model: str, share: float, rng) -> list[Worlds]:
        """Draw worlds of one prior and model that give about the share `share` of the tracks of a chunk."""
        per_world = _TRACKS_PER_ANDI2_WORLD if prior == "andi2" else _TRACKS_PER_WORLD[model]
        if self.n_particles:
            per_world = 0.85 * self.n_particles
        n = max(1, round(share * self.chunk / per_world))
        pieces = 3 if model == "multi_state" and n >= 3 else 1  # each part draws another number of states
        return [sample_worlds(prior, model, n // pieces, rng, n_particles=self.n_particles) for _ in range(pieces)]

    def simulate_chunk(self, chunk: int) -> dict:
        """Simulate about `self.chunk` tracks, padded, as one dict; they depend on the seed and `chunk` alone."""
        seeds = np.random.SeedSequence([self.seed, chunk])
        rng = np.random.default_rng(seeds)
        generator = torch.Generator(self.device).manual_seed(int(seeds.generate_state(1)[0]))
        parts = []
        for prior, share in zip(self.priors, self.shares, strict=True):
            for model, model_share in MODEL_SHARES.items():
                for worlds in self._worlds(prior, model, share * model_share, rng):
                    parts.append(simulate_batched(worlds, generator))
        n_before = np.cumsum([0] + [int(p["world"].max()) + 1 if len(p["world"]) else 0 for p in parts])
        tracks = _concatenate([p | {"world": p["world"] + int(n)} for p, n in zip(parts, n_before, strict=False)])
        hide = torch.rand(len(tracks["sigma"]), generator=generator, device=self.device) < self.unknown_sigma
        tracks["sigma"] = torch.where(hide, torch.nan, tracks["sigma"])
        return with_gaps(tracks, self.gaps, generator) if self.gaps else tracks


class SampleStream(TrackStream):
    """Padded batches of samples of 1, 4, 16 or 64 tracks of one world; `group` of a batch is the size of its samples.

    The batch must be a multiple of the largest sample. Some samples hold tracks of several worlds. Particles of a world
    differ more in K than in the priors (`SAMPLE_K_SD`), so that a network learns how much the other tracks tell.
    """

    n_particles = 96

    def _worlds(self, prior, model: str, share: float, rng) -> list[Worlds]:
        prior = PRIORS.get(prior, prior) if isinstance(prior, str) else prior
        wide = replace(prior, k_relative_sd=SAMPLE_K_SD, spread_by_state=True) if isinstance(prior, Prior) else prior
        return super()._worlds(wide, model, share, rng)

    def _batches(self, chunk: int) -> list:
        tracks = self.simulate_chunk(chunk)
        rng = np.random.default_rng([self.seed, chunk, 1])
        groups = []
        for size, rows in cut_samples(tracks.pop("world").cpu().numpy(), rng).items():
            rows = torch.as_tensor(rows[: len(rows) - len(rows) % self.batch], device=self.device)
            groups += [(size, part) for part in rows.view(-1, self.batch)]

        def take(size, rows):
            longest = int(tracks["length"][rows].max())
            batch = {n: _trim(v[rows], longest) for n, v in tracks.items()}
            return batch | {"group": torch.tensor(size)}

        return [lambda i=i: take(*groups[i]) for i in rng.permutation(len(groups))]


def cut_samples(world: np.ndarray, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Group the tracks of each world into samples of one size; the tracks of some worlds are mixed first.

    Parameters
    ----------
    world : numpy.ndarray, shape (B,)
        World of each track.

    Returns
    -------
    dict
        Tracks per sample -> rows of `world`, one sample after the other.
    """
    names, code = np.unique(world, return_inverse=True)
    pool, mixed = np.arange(len(names)), rng.permutation(len(names))[: int(MIXED_WORLDS * len(names))]
    while len(mixed):
        n = rng.choice(MIX_SIZES)
        pool[mixed[:n]], mixed = pool[mixed[0]], mixed[n:]
    code = pool[code]
    order = rng.permutation(len(world))
    order = order[np.argsort(code[order], kind="stable")]
    samples = {size: [] for size in SAMPLE_SIZES}
    for rows in np.split(order, np.nonzero(np.diff(code[order]))[0] + 1):
        size = int(rng.choice(list(SAMPLE_SIZES), p=list(SAMPLE_SIZES.values())))
        while size > len(rows):
            size //= 4
        samples[size] += rows[: len(rows) - len(rows) % size].reshape(-1, size).tolist()
    return {size: rng.permutation(np.array(rows)).ravel() for size, rows in samples.items() if rows}


def _concatenate(parts: list[dict]) -> dict:
    frames = max(p["xy"].shape[1] for p in parts)
    return {n: torch.cat([_pad(p[n], frames) for p in parts]) for n in parts[0]}


def _pad(values: torch.Tensor, frames: int) -> torch.Tensor:
    if values.dim() == 1:
        return values
    padded = values.new_zeros(values.shape[0], frames, *values.shape[2:])
    padded[:, : values.shape[1]] = values
    return padded


def _trim(values: torch.Tensor, frames: int) -> torch.Tensor:
    return values if values.dim() == 1 else values[:, :frames].contiguous()
