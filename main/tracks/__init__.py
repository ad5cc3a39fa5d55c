"""Tracks: from a file of positions to K, alpha, state, changepoints, D(t), dwell times and a report."""
