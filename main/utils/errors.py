"""The error whose message a user sees."""


class InputError(ValueError):
    """A file or an option cannot be used. The message is one sentence for the user, on one line.

    A message of more than 500 characters is shortened in its middle.
    """

    def __init__(self, message):
        text = " ".join(str(message).split())
        super().__init__(text if len(text) <= 500 else f"{text[:300]} ... {text[-190:]}")
