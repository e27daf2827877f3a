"""Weights and checkpoints on disk: round trips, torn files, numbers too large for float16."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from study.runs import RunFolder
from study.runs.temporary import sweep
from study.settings import Arm, UserError
from study.training.checkpoints import (
    Network,
    halve_weights,
    load_checkpoint,
    load_weights,
    read_state,
    remove_checkpoints,
    save_checkpoint,
    save_weights,
    write_state,
)


@pytest.fixture
def network(control: Arm) -> Network:
    return Network(control.generator, 16, 1)


def test_weights_come_back_as_they_were(network: Network, tmp_path: Path) -> None:
    generator = network.build(seed=3)
    save_weights(tmp_path / "best.pt", generator, network, epoch=7)
    loaded, what, epoch = load_weights(tmp_path / "best.pt")
    assert (what, epoch, loaded.training) == (network, 7, False)
    for name, value in generator.state_dict().items():
        assert loaded.state_dict()[name].equal(value)


def test_halved_weights_are_the_nearest_float16(network: Network, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    generator = network.build(seed=3)
    save_weights(file, generator, network, epoch=1)
    size = file.stat().st_size
    assert halve_weights(file) == "float16"
    once = file.read_bytes()
    assert halve_weights(file) == "float16" and file.read_bytes() == once  # a resumed end
    assert file.stat().st_size < 0.7 * size
    loaded = load_weights(file)[0].state_dict()
    for name, value in generator.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], value, rtol=2**-10, atol=1e-7)


def test_weights_beyond_float16_stay_float32(network: Network, tmp_path: Path) -> None:
    generator = network.build(seed=3)
    with torch.no_grad():
        next(generator.parameters())[0] = 1e5
    save_weights(tmp_path / "best.pt", generator, network, epoch=1)
    assert halve_weights(tmp_path / "best.pt") == "float32"
    loaded = load_weights(tmp_path / "best.pt")[0]
    assert float(next(loaded.parameters()).detach().max()) == 1e5


def test_absent_torn_and_foreign_weights_are_user_errors(network: Network, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    with pytest.raises(UserError, match="does not exist; train the run"):
        load_weights(file)
    save_weights(file, network.build(seed=0), network, epoch=1)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a file of weights"):
        load_weights(file)
    write_state(file, {"anything": 1})
    with pytest.raises(UserError, match="another version of the network"):
        load_weights(file)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"weights": Trap()}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="not a file of weights") as refused:
        read_state(tmp_path / "best.pt")
    assert not (tmp_path / "sprung").exists()
    assert "weights_only" not in str(refused.value)  # torch's advice would run the pickle


def test_the_newest_checkpoint_that_loads_is_taken(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert load_checkpoint(folder) is None
    for epoch in (1, 2, 3):
        save_checkpoint(folder, {"epoch": epoch})
    assert load_checkpoint(folder) == {"epoch": 3}
    folder.checkpoint.write_bytes(b"cut")
    assert load_checkpoint(folder) == {"epoch": 2}
    folder.checkpoint.unlink()
    assert load_checkpoint(folder) == {"epoch": 2}
    remove_checkpoints(folder)
    assert load_checkpoint(folder) is None
    assert {file.name for file in tmp_path.iterdir()} == {"events.jsonl", "log.txt"}


def test_a_checkpoint_is_saved_while_another_process_sweeps(tmp_path: Path, monkeypatch) -> None:
    """`study clean` can meet the second name of the file before it has its own."""
    folder, link = RunFolder(tmp_path), Path.hardlink_to
    save_checkpoint(folder, {"epoch": 1})
    swept: list[Path] = []

    def swept_once(path: Path, target: Path) -> None:
        link(path, target)
        if not swept:
            swept.append(path)
            sweep(tmp_path)

    monkeypatch.setattr(Path, "hardlink_to", swept_once)
    save_checkpoint(folder, {"epoch": 2})
    assert swept and load_checkpoint(folder) == {"epoch": 2}
    folder.checkpoint.unlink()
    assert load_checkpoint(folder) == {"epoch": 1}


FULL = """
import resource, sys, torch
from pathlib import Path
from study.training.checkpoints import write_state
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 10**9))
try:
    write_state(Path(sys.argv[1]), {"weights": torch.zeros(100_000)})
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.slow
def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path) -> None:
    """torch alone says: unexpected pos. In a process of its own, for the limit on its files."""
    command = (sys.executable, "-c", FULL, str(tmp_path / "last.pt"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "File too large"
    assert list(tmp_path.iterdir()) == []
