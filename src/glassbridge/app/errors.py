"""What can go wrong for an app."""


class AppError(Exception):
    """Base of all."""


class NotConnected(AppError):
    """The cloud cannot be reached right now; the session goes on trying, and so may the app."""


class SessionEnded(AppError):
    """This session is over: nothing can be done in it any more."""


class PlaybackFailed(AppError):
    """The user did not hear all of it; the text says why."""


class StorageFailed(AppError):
    """The storage refused or failed; the text says why."""
