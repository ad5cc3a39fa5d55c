"""Makes tracks with their truth; learns nothing."""
