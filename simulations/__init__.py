"""Simulation of single-particle tracks: makes data, learns nothing."""
