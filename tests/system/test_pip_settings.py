"""The pip configuration that a test build borrows: read as pip lists it, whatever it is."""

from pathlib import Path

from system.container_engine import PipSettings


def test_a_machine_without_a_configuration_lends_nothing(tmp_path: Path) -> None:
    settings = PipSettings("")
    assert settings.options(tmp_path / "pip.conf") == [] and not (tmp_path / "pip.conf").exists()


def test_lists_add_up_and_the_environment_wins(tmp_path: Path) -> None:
    index, wheels = tmp_path / "index" / "simple", tmp_path / "wheels"
    index.mkdir(parents=True)
    wheels.mkdir()
    settings = PipSettings(
        f":env:.default-timeout='9'\n:env:.find-links='{wheels}'\nglobal.timeout='5'\n"
        f"global.find-links='{wheels} https://a.example/w'\nglobal.require-virtualenv='1'\n"
        f"user.extra-index-url='file://{index}\\nhttps://b.example/simple'\n"
    )
    assert settings.text() == (
        f"[global]\ntimeout = 9\nfind-links = {wheels}\n    https://a.example/w\n"
        f"extra-index-url = file://{index}\n    https://b.example/simple\n"
    )
    assert settings.paths() == [wheels, index.parent]
    mounts = settings.options(tmp_path / "pip.conf")
    assert f"{wheels}:{wheels}:ro" in mounts and "CPU_INDEX=" not in mounts
    (wheels / "torch-9.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert "CPU_INDEX=" in settings.options(tmp_path / "pip.conf")
