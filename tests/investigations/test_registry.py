"""The registry names every investigation, its parts exist, and none of them brings torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from study import investigations

FOLDER = Path(investigations.__file__).parent
PROGRAM = """
import sys
from study import investigations as registry
for kind in sorted({kind for kinds in registry.INVESTIGATIONS.values() for kind in kinds}):
    registry.parts(kind)
    print(kind, "torch" in sys.modules)
"""


def test_every_folder_is_registered_with_parts_that_exist() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert set(investigations.INVESTIGATIONS) == folders
    for name, kinds in investigations.INVESTIGATIONS.items():
        assert all((FOLDER / name / f"{kind}.py").is_file() for kind in kinds), name


def test_parts_are_those_that_the_registry_lists_in_its_order() -> None:
    found = [module.__name__.split(".")[-2] for module in investigations.parts("section")]
    wanted = [name for name, kinds in investigations.INVESTIGATIONS.items() if "section" in kinds]
    assert found == wanted and len(wanted) > 1
    assert investigations.parts("no such kind") == []


def test_no_part_brings_torch() -> None:
    """Commands, settings, report and app open without it; a computation imports it when it runs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) >= 5 and all(line.endswith("False") for line in lines), done.stdout
