"""What programs of a stack say where a test fails."""

from glassbridge.lab.program import Program
from glassbridge.lab.stack import Stack


def why(stack: Stack, *phones: Program) -> str:
    """The last words of each phone, and all that the clouds warned of or that went wrong in a recogniser."""
    told = [f"{phone.name}: {phone.last_words}" for phone in phones]
    for line in stack.cloud.lines:
        if line.fields.get("level") in ("warning", "error") or line.fields.get("event") == "recogniser":
            told.append(line.text)
    return "\n".join(told)
