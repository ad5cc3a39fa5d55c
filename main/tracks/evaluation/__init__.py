"""Errors against known truth."""
