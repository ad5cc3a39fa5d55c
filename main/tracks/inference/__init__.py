"""Predictions of every frame, changepoints, segments and their intervals."""
