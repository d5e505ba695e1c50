"""Errors that end a command with one line for its user."""


class UserError(Exception):
    """Something that the user can put right: a line for each such thing that says what to do, and the exit status.

    `exit_code` is 2 for bad usage or input, 1 for what failed while running. The text never holds a secret.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
