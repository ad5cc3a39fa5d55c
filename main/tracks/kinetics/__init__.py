"""Dwell times, rates, occupancy."""
