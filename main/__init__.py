"""Everything learned or inferred from tracks."""
