"""All tracks of a sample analysed together."""
