"""Errors that end a command with one line for its user, and what a log line says of the system's."""


class UserError(Exception):
    """An error that the user can correct: one line for each cause, which says what to do, and the exit status.

    `exit_code` is 2 for bad usage or input, 1 for what failed while running. The text never holds a secret.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def describe(error: OSError) -> str:
    """What the system says, in its words, without file names."""
    return error.strerror or str(error) or type(error).__name__
