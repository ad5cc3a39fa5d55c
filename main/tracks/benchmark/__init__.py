"""The AnDi-2 benchmark."""
