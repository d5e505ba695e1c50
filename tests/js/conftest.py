"""The package packed, and installed into a project; once for all tests."""

import shutil
from pathlib import Path

import pytest

from tests.console.conftest import pages
from tests.js.node import install, package, run
from tests.js.page import files_of_the_page

__all__ = ["package", "pages"]


@pytest.fixture(scope="session")
def tarball(package: Path) -> Path:
    """What `npm pack` makes."""
    run("npm", "pack", "--loglevel=error", cwd=package)
    [packed] = package.glob("*.tgz")
    return packed


@pytest.fixture(scope="session")
def web_page(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of docs/web-phone.md, built."""
    folder = tmp_path_factory.mktemp("web-page")
    source = Path(__file__).with_name("web_page")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    install(folder)
    run("npm", "install", "--no-save", "--offline", "--no-audit", "--no-fund", "--loglevel=error", tarball, cwd=folder)
    for name, text in files_of_the_page().items():
        (folder / name).write_text(text)
    run("npx", "--no-install", "vite", "build", cwd=folder)
    return folder
