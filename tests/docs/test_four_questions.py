"""docs/four-questions.md and the table in ARCHITECTURE.md: each file and each name that they give is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "glassbridge"
PAGE = ROOT / "docs" / "four-questions.md"
SECTIONS = PAGE.read_text().split("\n## ")[1:]
FILE = re.compile(r"`([a-z_]+(?:/[a-z_]+)*\.py)`")
NAME = re.compile(r"`([A-Z]\w*(?:\.\w+)?|[a-z]\w*)`")
TREE = re.compile(r"^    (src/glassbridge/\S+/)$|^    [├└]── (\S+\.py)", re.MULTILINE)


def names_of(path: Path) -> set[str]:
    """Classes, methods, functions, fields and constants of a module; what it imports, too."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                found.add(name)
                for part in body:
                    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                        found.add(f"{name}.{part.name}")
                    elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                        found |= {part.target.id, f"{name}.{part.target.id}"}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name for alias in names}
    return found


def test_there_are_four_questions() -> None:
    assert [section.partition("\n")[0] for section in SECTIONS] == [
        "Is a bridge rejoined?",
        "By which route does a phone send?",
        "What happens to an app when its user moves?",
        "Who may hear a stream?",
    ]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_each_file_and_each_name_is_there(section: str) -> None:
    files = set(FILE.findall(section))
    assert [file for file in files if not (SOURCE / file).is_file()] == []
    known = set[str]().union(*(names_of(SOURCE / file) for file in files))
    named = set(NAME.findall(section))
    assert named - known == set()
    assert len(named) > 3


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_the_tree_shows_the_files(section: str) -> None:
    folder, shown = Path(), set[str]()
    for here, file in TREE.findall(section):
        if here:
            folder = ROOT / here
        else:
            assert (folder / file).is_file()
            shown.add((folder / file).relative_to(SOURCE).as_posix())
    assert shown
    assert shown <= set(FILE.findall(section))


def test_each_file_of_the_architecture_is_there() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Where is it decided?")[2].partition("\n## ")[0]
    files = FILE.findall(table)
    assert len(files) > 30
    assert [file for file in files if not (SOURCE / file).is_file()] == []
