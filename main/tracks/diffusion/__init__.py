"""D(t) of tracks, by networks that were trained on segmented Brownian motion."""
