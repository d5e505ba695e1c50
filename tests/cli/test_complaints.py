"""What ends a command stands in one table: with a cause and a remedy, and in no other words. Each is met."""

import ast
import re
from pathlib import Path

import pytest

from glassbridge.runtime.complaints import Complaint
from glassbridge.runtime.errors import UserError
from tests.cli.provoked import ELSEWHERE, PROVOKED, Action, finished

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "glassbridge"
ERRORS = {"UserError", "RegistryError", "BadParameter", "CannotListen", "LiveKitServerError"}
REMEDY = re.compile(
    r"\b(add|ask|change|choose|correct|cut|give|install|is one of|leave|looks like|makes one|name|pip|put|raise|remove|"
    r"rekey|say|see|set|start|stop|take|try|use|write)\b"
)


def says(complaint: Complaint, text: str) -> bool:
    """Whether the text holds it, with whatever fills it."""
    pieces = re.split(r"\{[^}]*\}", f"{complaint.cause}: {complaint.remedy}")
    return re.search("(?s:.*?)".join(map(re.escape, pieces)), " ".join(text.split())) is not None


@pytest.mark.parametrize(("complaint", "action"), PROVOKED, ids=[one.name for one, _ in PROVOKED])
def test_it_is_said(complaint: Complaint, action: Action, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as told:
        finished(action(tmp_path))
    assert says(complaint, str(told.value)), f"{complaint.name}: {told.value}"


@pytest.mark.parametrize("complaint", ELSEWHERE, ids=lambda one: one.name)
def test_another_test_looks_for_its_words(complaint: Complaint) -> None:
    path, name = ELSEWHERE[complaint]
    [test] = [
        node
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    words = max(re.split(r"\{[^}]*\}", complaint.cause), key=len).strip(" (:")[-30:]
    assert words in ast.unparse(test).replace("\\", "")


def test_each_is_met() -> None:
    provoked = {complaint for complaint, _ in PROVOKED}
    assert [one.name for one in Complaint if (one in provoked) == (one in ELSEWHERE)] == []


def test_each_has_a_cause_and_a_remedy() -> None:
    for complaint in Complaint:
        assert complaint.cause, complaint.name
        assert REMEDY.search(complaint.remedy), complaint.name


def test_each_is_said_by_a_program() -> None:
    programs = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert [one.name for one in Complaint if not re.search(rf"Complaint\.{one.name}\b", programs)] == []


def own_words(node: ast.expr) -> bool:
    """Whether an error's text is written where it is raised. `{where}: {error}` is that of another error."""
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.JoinedStr():
            pieces = [part.value for part in node.values if isinstance(part, ast.Constant)]
            is_prefix = isinstance(node.values[-1], ast.FormattedValue) and str(node.values[-2].value).endswith(": ")  # type: ignore[attr-defined]
            return not is_prefix and any(re.search("[a-z]{2}", str(piece)) for piece in pieces)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
    return False


def test_no_error_of_the_programs_has_a_text_of_its_own() -> None:
    """The lab aside, an error's text is from the table, or is that of another error in its place."""
    own = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] in ("lab", "testing"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ERRORS:
                own += [f"{path.name}:{node.lineno}" for argument in node.args[:1] if own_words(argument)]
    assert own == []
