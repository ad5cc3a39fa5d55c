"""Commands and notebooks, and the rooms that they call."""
