"""What all observables share: training loop, run folders, weights, estimators, bootstrap, figures, files."""
