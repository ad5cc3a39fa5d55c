"""The error that a user may see."""


class InputError(ValueError):
    """A file or an option that cannot be used; the message is one sentence for the user, on one line."""

    def __init__(self, message):
        text = " ".join(str(message).split())
        super().__init__(text if len(text) <= 500 else f"{text[:300]} ... {text[-190:]}")
