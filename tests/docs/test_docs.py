"""The documents stay true: their commands exist, and their example network runs."""

import re
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from typer.main import get_command

from study import cli
from study.settings import GeneratorParams

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def code_of(page: Path) -> str:
    """Indented and fenced blocks, and inline code."""
    text = page.read_text()
    indented = re.findall(r"^    .*$", text, re.MULTILINE)
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return "\n".join([*indented, *fenced, *re.findall(r"`([^`\n]+)`", text)])


def leaf(words: list[str]):
    """The command that `study WORDS` names, and the words that are left."""
    command = get_command(cli.app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_documents_exists(page):
    code = code_of(page)
    for target in re.findall(r"\bmake ([a-z-]+)", code):
        assert target in TARGETS, f"{page.name}: make {target}"
    # The service of compose.yaml has the name of the command: `run --rm study study doctor`.
    code = re.sub(r"(docker compose .*?run --rm) study\b ?", r"\1\n", code)
    for line in re.findall(r"(?:^|[\s`])study ([a-z][^`\n;|]*)", code):
        words = line.split("#")[0].split()
        command, rest = leaf(words)
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            if word.startswith("--"):
                assert word.split("=")[0] in known | {"--help"}, f"{page.name}: study {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_document_names_exists(page):
    named = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    named += re.findall(r"`((?:study|docs|tests|tools|full)/[\w./]+)`", page.read_text())
    for name in named:
        base = page.parent if (page.parent / name).exists() else ROOT
        assert (base / name).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_image_service_and_compose_file_in_the_documents_exists(page):
    services = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())["services"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    code = code_of(page)
    for line in re.findall(r"docker compose [^\n`]+", code):
        assert all((ROOT / file).is_file() for file in re.findall(r"-f (\S+)", line)), line
        asked = re.findall(r"\b(?:up(?: -d)?|run --rm) (\w+)", line)
        assert set(asked) <= set(services), f"{page.name}: {line}"
    assert set(re.findall(r"armature:(\w+)", code)) <= {"cpu", "cuda"}
    for argument in re.findall(r"--build-arg (\w+)", code):
        assert f"\nARG {argument}=" in dockerfile, f"{page.name}: --build-arg {argument}"


def test_your_own_network_in_thirty_lines_runs(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "adding.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 35
    (tmp_path / "own_network.py").write_text(example[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_network  # pyright: ignore[reportMissingImports]

    from study import generators

    monkeypatch.setitem(generators.GENERATORS, "plain", own_network.PlainGenerator)
    params = GeneratorParams(name="plain", options={"width": 8, "input_transform": "none"})
    network = generators.build(params, 16, 1, 0)
    patch = network(torch.rand(3, 1, 16, 16))
    assert patch.shape == (3, 1, 16, 16) and patch.is_complex()
    patch.abs().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert network.effective()["network"] == "PlainGenerator"
    del sys.modules["own_network"]
