"""Figures of the benchmark on segmented Brownian motion."""

from __future__ import annotations
