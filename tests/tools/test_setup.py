"""When `make setup` installs, and when it makes the environment anew; nothing is installed here."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import setup  # noqa: E402


@dataclass
class Machine:
    """A checkout whose environment is a few empty files, and what was done to it."""

    monkeypatch: pytest.MonkeyPatch
    torch: str = "cpu"
    done: list[str] = field(default_factory=list)

    def stand_in(self, root: Path) -> None:
        self.monkeypatch.setattr(setup, "ROOT", root)
        self.monkeypatch.setattr(setup, "VENV", root / ".venv")

    def make(self) -> None:
        """What `python -m venv` leaves that setup looks at."""
        self.done.append("make")
        version = ".".join(map(str, sys.version_info[:3]))
        pip = setup.VENV / "bin" / "pip"
        pip.parent.mkdir(parents=True, exist_ok=True)
        pip.touch()
        (setup.VENV / "pyvenv.cfg").write_text(
            f"version = {version}\ncommand = {sys.executable} -m venv {setup.VENV}\n"
        )

    def setup(self, torch: str = "auto") -> list[str]:
        """What one `make setup TORCH=torch` does."""
        self.done.clear()
        self.monkeypatch.setattr(sys, "argv", ["setup.py", torch])
        assert setup.main() == 0
        return [*self.done]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    root = tmp_path / "here"
    root.mkdir()
    for name in ("requirements.lock", "requirements-cpu.txt", "pyproject.toml"):
        (root / name).write_text(f"{name}\n")
    made = Machine(monkeypatch)
    made.stand_in(root)
    monkeypatch.setattr(setup, "detect", lambda: made.torch)
    monkeypatch.setattr(setup, "make_environment", made.make)
    monkeypatch.setattr(setup, "install", lambda _, torch: made.done.append(torch))
    return made


def test_an_unchanged_set_up_costs_nothing_and_changed_pins_are_installed(machine: Machine):
    assert machine.setup() == ["make", "cpu"]
    assert machine.setup() == machine.setup("cpu") == []
    (setup.ROOT / "requirements-cpu.txt").write_text("other pins\n")
    assert machine.setup() == ["cpu"]


def test_another_torch_takes_a_new_environment_and_stays(machine: Machine):
    """The CPU build satisfies the pin of the CUDA one: installed over it, nothing would change."""
    machine.setup()
    assert machine.setup("cuda") == ["make", "cuda"]
    assert machine.setup() == [], "make repro on a login node without a driver"
    assert machine.setup("cpu") == ["make", "cpu"]
    machine.torch = "cuda"
    assert machine.setup() == []


def test_an_installation_that_broke_off_goes_on_with_its_torch(machine: Machine, monkeypatch):
    machine.setup("cpu")

    def broken(*_):
        raise SystemExit(2)

    with monkeypatch.context() as patch:
        patch.setattr(setup, "install", broken)
        with pytest.raises(SystemExit):
            machine.setup("cuda")
    assert machine.setup() == ["cuda"]


@pytest.mark.parametrize("copied", [False, True])
def test_a_checkout_that_was_moved_or_copied_gets_an_environment_of_its_own(
    machine: Machine, tmp_path: Path, copied: bool
):
    machine.setup("cuda")
    there = tmp_path / "there"
    (shutil.copytree if copied else shutil.move)(setup.ROOT, there)
    machine.stand_in(there)
    assert machine.setup() == ["make", "cuda"]
    assert machine.setup() == []
