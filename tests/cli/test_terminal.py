"""No control code of a stored text reaches the terminal."""

from __future__ import annotations

import ast
import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.toy import PARAMS
from study import cli, terminal
from study.runs import write_json

ROOT = Path(__file__).parent.parent.parent
HOSTILE = [
    "\x1b[2J\x1b[H",  # clear the screen
    "\x1b]0;title\x07",  # set the title
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",  # a link
    "\x1b]52;c;ZXZpbA==\x07",  # the clipboard
    "\x9b2J",  # C1: the same as ESC [
    "done\rfail",
    "a\x08b\x7f",
    "\u202etxt.exe",  # text that runs backwards
]
CODE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TEXT = "cause " + " ".join(HOSTILE)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A checkout whose settings and run hold control codes in every text."""
    quoted = TEXT.encode("unicode_escape").decode().replace("\\\\", "\\x5c")
    text = PARAMS.replace("asks: Does the cnn train?", f'asks: "{quoted}"')
    assert text != PARAMS
    (tmp_path / "params.yaml").write_text(text)
    process = {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
    for seed, state in enumerate(("running", "failed"), start=1):
        status = {"state": state, "arm": "cnn", "seed": seed, "cause": TEXT, **process}
        status |= {"started": time.time(), "heartbeat": time.time()}
        write_json(tmp_path / "work" / f"cnn{seed}" / "status.json", status)
    return tmp_path


COMMANDS = [("runs",), ("runs", "--all"), ("arms", "list"), ("arms", "show", "cnn")]
REFUSED = [("arms", "show", TEXT), ("stop", TEXT), ("explain", TEXT)]


@pytest.mark.parametrize("arguments", COMMANDS + REFUSED)
def test_no_command_prints_control_codes(stored, arguments, monkeypatch, capsys):
    monkeypatch.chdir(stored)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["study", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = "".join(capsys.readouterr())
    assert (ended.value.code or 0) == (2 if arguments in REFUSED else 0), printed
    assert "cause" in printed and not CODE.search(printed)


@pytest.mark.slow
def test_a_real_terminal_is_sent_the_codes_of_the_table_only(stored):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "study", "runs"]
    child = subprocess.Popen(command, cwd=stored, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    printed = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the child has closed its end
            break
        if not part:
            break
        printed += part
    os.close(ours)
    assert child.wait() == 0
    text = re.sub(r"\x1b\[[\d;]*m|\r\n", "", printed.decode())  # styles, and ends of lines
    assert "cause" in text and "\x1b[1m" in printed.decode() and not CODE.search(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_print_and_tables_are_cleaned(capsys, text):
    with terminal.cleaned_output():
        print(text)
        print(text, file=sys.stderr)
        sys.stdout.writelines([text, "\n"])
        terminal.console().print(text)
        terminal.console(stderr=True).print(text)
    for part in capsys.readouterr():
        assert part.strip() and not CODE.search(part)


def test_text_without_control_codes_is_printed_as_it_is(capsys):
    text = "µ ± 95 % ü 試 [bold]x[/bold] :smile:"
    with terminal.cleaned_output():
        print(f"{text}\t{text}")
        terminal.console(width=80).print(text)
    assert capsys.readouterr().out == f"{text}\t{text}\n{text}\n"


def test_the_streams_are_as_before_after_an_error():
    before = sys.stdout, sys.stderr
    with pytest.raises(io.UnsupportedOperation), terminal.cleaned_output():
        raise io.UnsupportedOperation
    assert (sys.stdout, sys.stderr) == before


def test_consoles_are_made_in_one_place():
    made = []
    for file in (ROOT / "study").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console"):
                names = {alias.name for alias in node.names}
                if names & {"Console", "print", "get_console"}:
                    made.append(file.relative_to(ROOT).as_posix())
    assert set(made) == {"study/terminal.py"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"},
     {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}],
)  # fmt: skip
def test_what_the_terminal_cannot_show_is_replaced(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS.replace("Does the cnn", "Döes the 網 cnn"))
    done = subprocess.run(
        (sys.executable, "-m", "study", "arms", "list"), cwd=tmp_path, check=False,
        env={**os.environ, **environment}, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"") and b"D?es the ? cnn" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), [(("arms", "list"), 0), (("arms", "show", "nope"), 2)])
def test_closed_streams_do_not_change_the_exit_code(
    tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    closing = "import os, sys; os.close(1); os.close(2); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        (sys.executable, "-c", closing, sys.executable, "-m", "study", *words),
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == code


@pytest.mark.parametrize("text", ["x" * 20_000, "a " * 10_000, f"{'a ' * 5000}{'b' * 9000} end"])
def test_an_error_is_short_and_keeps_its_ends(text: str) -> None:
    sentence = f"study: no such thing: {text}; do this"
    short = terminal.shortened(sentence)
    assert len(short) <= terminal.LONGEST_ERROR and max(map(len, short.split())) <= 1000
    assert short.startswith("study: no such thing:") and short.endswith("; do this")


@pytest.mark.parametrize(
    "arguments", [("explain", "x" * 20_000), ("x" * 20_000,), ("arms", "show", "a " * 9000)]
)
def test_long_arguments_are_not_repeated_whole(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["study", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and 0 < len(capsys.readouterr().err) < 6000


@pytest.mark.parametrize("seed", ["²", "9" * 5000, "१", "-1"])
@pytest.mark.parametrize(
    "command", [("explain", "control/s{}/last.val_loss"), ("verify", "--retrain", "control:{}")]
)
def test_what_is_no_seed_is_a_sentence(seed: str, command, tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["study", *(word.format(seed) for word in command)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and len(capsys.readouterr().err) < 2000


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 7.28 TiB")])
def test_a_lack_of_memory_is_a_sentence(
    error: MemoryError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["study", "limit", "data/quick"])
    with pytest.raises(SystemExit) as ended, terminal.plain_errors("study"):
        raise error
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and "not enough memory for `limit data/quick`" in printed
    assert str(error) in printed and "smaller" in printed
