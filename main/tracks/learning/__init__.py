"""What is learnt from tracks: task, losses, training data."""
