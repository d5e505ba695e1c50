"""What ends a command of the lab says what to do about it: in the words of one list. (Others: test_complaints.py.)"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "glassbridge"
ERRORS = {"UserError", "CannotListen", "LiveKitServerError", "SignInError"}
REMEDY = re.compile(
    r"\b(add|ask|check|choose|compare|connect|correct|cut|give|install|is it running|it looks like|leave|lists them|"
    r"lower|makes?|raise|remove|run|say|see|send|set|shows them|sign in|start|stop|try|use|wait|write)\b"
)
"""A person, or the author of an app, is told to do something."""


def messages() -> Iterator[tuple[str, str]]:
    """Where, and the text of each error that is written where it is raised; what is filled in stands as …."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ERRORS or name == "complain":
                for argument in node.args:
                    if text := literal(argument):
                        yield f"{path.relative_to(SOURCE)}:{node.lineno}", text


def literal(node: ast.expr) -> str:
    """Empty: it is no text, or nothing but what is filled in."""
    if isinstance(node, ast.JoinedStr):
        pieces = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(pieces) if any(re.search("[a-z]{2}", piece) for piece in pieces) else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value else ""


def test_each_says_what_to_do() -> None:
    found = sorted(messages())
    assert len(found) > 30
    for where, text in found:
        holds_another = text.endswith("…") or text.startswith("…\n")
        assert holds_another or REMEDY.search(text), f"{where}: {text}"
