"""Networks of tracks."""
