"""Names that somebody chooses of a list: one check with one message, wherever they are given."""

from collections.abc import Collection
from difflib import get_close_matches

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError


def require_known(option: str, given: Collection[str], known: Collection[str]) -> None:
    """Raises UserError for the first name that is not known. `option` is where it was given."""
    for name in given:
        if name not in known:
            similar = closest(name, known)
            unknown = f"{name} (did you mean {similar}?)" if similar else name
            raise UserError(Complaint.CHOICE_UNKNOWN.text(option=option, unknown=unknown, known=", ".join(known)), 2)


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name that somebody may have meant, upper or lower case alike; None: none is like it."""
    folded = {one.casefold(): one for one in known}
    return next((folded[one] for one in get_close_matches(name.casefold(), folded, 1)), None)
