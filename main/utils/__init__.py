"""Tables, features, training, inference, changepoints, metrics and figures."""
