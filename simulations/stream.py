"""An endless stream of simulated tracks, made on the device that trains on them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from simulations.batched import simulate_batched
from simulations.parameters import MODELS, PRIORS, Prior, sample_worlds

MODEL_SHARES = dict(zip(MODELS, (0.1, 0.3, 0.25, 0.25, 0.1), strict=True))
_TRACKS_PER_WORLD = {"single_state": 0.8, "multi_state": 0.9, "immobile_traps": 13.0, "dimerization": 50.0,
                     "confinement": 12.0}  # fmt: skip
_TRACKS_PER_ANDI2_WORLD = 25.0
_PER_TRACK = ("xy", "length", "sigma", "k", "alpha", "state", "model")


class ResumableBatches:
    """Endless batches in numbered chunks, each a function of its number alone, so that it resumes where it stopped.

    A subclass gives `_batches(chunk)`, a list of functions that make the chunk's batches.
    """

    position = (0, 0)  # chunk, batch within it

    def state_dict(self) -> dict:
        """Where it stands."""
        return {"position": list(self.position)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state; the settings must be those of the batches that saved it."""
        self.position = tuple(state["position"])

    def __iter__(self):
        while True:
            chunk, done = self.position
            batches = self._batches(chunk)
            for i in range(done, len(batches)):
                self.position = (chunk, i + 1)
                yield batches[i]()
            self.position = (chunk + 1, 0)


class TrackStream(ResumableBatches):
    """Padded batches of fresh tracks from named priors, all models mixed, sorted by length so that little is padding.

    Chunk i of the stream is a function of (seed, i) alone, so a stream resumes exactly where it stopped.

    Parameters
    ----------
    prior : str or Prior or list of these
        Names in `PRIORS`; several are mixed in equal shares unless `shares` is given.
    batch : int
        Tracks per batch.
    device : str or torch.device
    seed : int
    chunk : int
        Tracks simulated at once, at least a few batches.
    unknown_sigma : float
        Share of tracks whose localisation error is hidden (NaN).

    Raises
    ------
    ValueError
        If a prior is not known.
    """

    def __init__(self, prior="broad", batch=256, device="cpu", seed=0, chunk=4096, shares=None, unknown_sigma=0.4):
        self.priors = [prior] if isinstance(prior, (str, Prior)) else list(prior)
        self.shares = np.ones(len(self.priors)) if shares is None else np.asarray(shares, float)
        self.shares = self.shares / self.shares.sum()
        self.batch, self.device, self.seed, self.unknown_sigma = batch, torch.device(device), seed, unknown_sigma
        self.chunk = max(chunk, 2 * batch)
        for known in self.priors:
            if isinstance(known, str) and known not in PRIORS:
                raise ValueError(f"unknown prior {known!r}: expected a Prior or one of {', '.join(PRIORS)}")
        self.settings = {  # what a run folder records, and what must not change when it is resumed
            "priors": [p if isinstance(p, str) else asdict(p) for p in self.priors],
            "shares": self.shares.tolist(), "batch": batch, "chunk": self.chunk, "seed": seed,
            "unknown_sigma": unknown_sigma, "models": MODEL_SHARES,
        }  # fmt: skip

    def _batches(self, chunk: int) -> list:
        """The batches of one chunk, in random order, each made when called for."""
        tracks = self.simulate_chunk(chunk)
        order = tracks["length"].argsort()
        groups = [order[i : i + self.batch] for i in range(0, len(order) - self.batch + 1, self.batch)]
        shuffled = torch.randperm(len(groups), generator=torch.Generator().manual_seed(chunk))
        longest = [int(tracks["length"][g[-1]]) for g in groups]

        def take(i):
            return {n: _trim(v[groups[i]], longest[i]) for n, v in tracks.items()}

        return [lambda i=int(i): take(i) for i in shuffled]

    def simulate_chunk(self, chunk: int) -> dict:
        """About `self.chunk` tracks as one padded batch dict; a function of (seed, chunk)."""
        seeds = np.random.SeedSequence([self.seed, chunk])
        rng = np.random.default_rng(seeds)
        generator = torch.Generator(self.device).manual_seed(int(seeds.generate_state(1)[0]))
        parts = []
        for prior, share in zip(self.priors, self.shares, strict=True):
            for model, model_share in MODEL_SHARES.items():
                per_world = _TRACKS_PER_ANDI2_WORLD if prior == "andi2" else _TRACKS_PER_WORLD[model]
                n = max(1, round(share * model_share * self.chunk / per_world))
                pieces = 3 if model == "multi_state" and n >= 3 else 1  # each draws its own number of states
                for size in np.full(pieces, n // pieces):
                    parts.append(simulate_batched(sample_worlds(prior, model, int(size), rng), generator))
        tracks = _concatenate(parts)
        hide = torch.rand(len(tracks["sigma"]), generator=generator, device=self.device) < self.unknown_sigma
        tracks["sigma"] = torch.where(hide, torch.nan, tracks["sigma"])
        return tracks


def _concatenate(parts: list[dict]) -> dict:
    frames = max(p["xy"].shape[1] for p in parts)
    return {n: torch.cat([_pad(p[n], frames) for p in parts]) for n in _PER_TRACK}


def _pad(values: torch.Tensor, frames: int) -> torch.Tensor:
    if values.dim() == 1:
        return values
    padded = values.new_zeros(values.shape[0], frames, *values.shape[2:])
    padded[:, : values.shape[1]] = values
    return padded


def _trim(values: torch.Tensor, frames: int) -> torch.Tensor:
    return values if values.dim() == 1 else values[:, :frames].contiguous()
