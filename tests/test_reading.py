"""Readers: what is not a small, regular, shallow UTF-8 file is a UserError that names it."""

import errno
import os
import sys
from pathlib import Path

import pytest

from study import cli
from study.editing.yaml_file import write_changed
from study.generators import parse
from study.reading import (
    LONGEST_QUOTE,
    UserError,
    parse_json,
    parse_yaml,
    quoted,
    read_bytes,
    read_end,
    read_mapping,
    read_table,
    read_yaml,
)
from study.runs import RunFolder
from study.settings import MOST, load_study, parse_study
from study.terminal import describe

ROOT = Path(__file__).parent.parent


def aliases(first: str, entry: str, levels: int) -> str:
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} {entry.format(','.join([f'*a{i - 1}'] * 9))}" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        aliases("[x]", "[{}]", 12),
        aliases("{x: 1}", "{{<<: [{}]}}", 12),
        "a: &a [*a]",
        "[" * 2000,
        "- " * 2000 + "x",
        "a: " + "9" * 5000,
        "a: 0x" + "f" * 5000,
        "a: !!python/object:os.system x",
        "? {a: b}\n: c",
        "a: 2001-99-99",
        "a: b: c",
        "a: \x00",
    ],
)
@pytest.mark.parametrize("typ", ["safe", "rt"])
def test_yaml_beyond_the_limits_is_refused(text: str, typ: str) -> None:
    with pytest.raises(UserError, match=r"file\.yaml") as refused:
        value = parse_yaml(text, "file.yaml", typ)
        if text.startswith(("?", "a: 2001", "a: !!")):  # a round trip keeps these as they are
            raise UserError(f"file.yaml: {type(value)}")
    assert len(str(refused.value)) < 1000


def test_aliases_and_merge_keys_within_the_limits_are_read() -> None:
    text = "base: &b {x: 1, y: [1, 2]}\nc: {<<: *b, x: 2}\n" + aliases("[x]", "[{}]", 4)
    given = parse_yaml(text, "file.yaml")
    assert given["c"] == {"x": 2, "y": [1, 2]} and len(given["a3"]) == 9


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 3000 + "]" * 3000, '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 4000 + "}",
     '{"a": "\\ud800"}', "[" * 100 + "]" * 100],
)  # fmt: skip
def test_json_beyond_the_limits_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"file\.json"):
        parse_json(text, "file.json")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "bytes", "large"])
def test_only_regular_files_of_text_are_read(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "loop":
        file.symlink_to(file.name)
    elif kind == "large":
        with file.open("wb") as stream:
            stream.truncate(10**10)
    else:
        file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=r"file\.json"):
        read_mapping(file)


def test_a_link_to_a_file_is_read_and_an_absent_file_is_absent(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").symlink_to("a.json")
    assert read_mapping(tmp_path / "b.json") == {}
    assert read_mapping(tmp_path / "c.json") is None
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "c.json")
    with pytest.raises(UserError):
        read_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "text",
    ["epoch,loss\n1,x\n", "epoch,loss\n1.5,2\n", "loss\n1\n", "epoch,loss\n1,2,3,4\n", "a\n\0"],
)
def test_damaged_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv", needed=("epoch",))


def test_tables_may_lack_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("epoch,loss\n1,\n2,0.5\n3,inf\n")
    assert len(read_table(tmp_path / "t.csv", needed=("epoch",))) == 3
    assert read_table(tmp_path / "absent.csv").empty


def test_quoted_values_are_cut() -> None:
    wide = dict.fromkeys(range(999), "y" * 999)
    for value in ("x" * 10**6, list(range(10**5)), wide, 16**9000, b"z" * 10**6):
        assert 0 < len(quoted(value)) <= LONGEST_QUOTE


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.quick.canvas_px", 10**9),
        ("data.quick.lines", 10**11),
        ("data.quick.photons_per_pattern", 1e30),
        ("data.quick.images_per_split", 10**12),
        ("data.quick.scan.stride_px.train", 10**9),
        ("arms.control.batch_size", 10**22),
        ("arms.control.epochs", MOST + 1),
        ("arms.control.generator.width", 10**8),
        ("arms.control.optimizer.lr", 1e30),
        ("arms.control.loss.overlap_weight", 1e30),
        ("arms.control.clip.gradient_clip_val", 1e30),
        ("data.quick.probe.defocus_rad", -1e30),
        ("arms.control.seeds", list(range(100_000))),
    ],
)
def test_settings_have_upper_bounds(path: str, value: object) -> None:
    given = parse_yaml((ROOT / "tests" / "first_study" / "params.yaml").read_text(), "params.yaml")
    holder = given
    *parents, last = path.split(".")
    for key in parents:
        holder = holder[key]
    assert last in holder or last == "defocus_rad"
    if last == "defocus_rad":
        optic = {"aperture_px": 9.0, "central_stop_px": 0.0, "smooth_sigma_px": 0.0}
        holder.clear()
        holder.update({"kind": "focus", **optic, "defocus_rad": 1.0})
        assert parse_study(given, "params.yaml").data
    holder[last] = value
    with pytest.raises(UserError, match=path.rpartition(".")[2]) as refused:
        study = parse_study(given, "params.yaml")
        parse(study.arms["control"].generator)  # which knows the options of each network
    assert len(str(refused.value)) < 1000


def test_the_bounds_accept_every_setting_of_the_study() -> None:
    for folder in ("", "studies", "full"):
        assert load_study(ROOT / folder / "params.yaml").arms


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_errors_of_the_system_are_a_sentence(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "results/x.json")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = capsys.readouterr().err
    assert ended.value.code == 2 and "results/x.json" in errors and len(errors.splitlines()) == 1
    assert sys.exc_info() == (None, None, None)


def test_an_error_of_hdf5_names_the_file_and_the_reason_alone() -> None:
    """HDF5 adds the time, a descriptor and an address, on two lines."""
    told = (
        "Can't write data (file write failed: time = Tue Dec  1 13:39:11 2026\n, filename = "
        "'runs/scan.cxi', file descriptor = 3, errno = 28, error message = 'No space left on "
        "device', buf = 0x562b108a1380, total write size = 96, offset = 5000)"
    )
    assert describe(OSError(errno.ENOSPC, told)) == (
        "runs/scan.cxi: No space left on device; free some space, then run the command again"
    )


def test_a_damaged_status_is_not_overwritten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.start("control", 1, 2, {})
    file = run.path / "status.json"
    for damaged in (b"\xff", file.read_bytes()[:-9], b'{"state": 7}'):
        file.write_bytes(damaged)
        assert run.status() == {} and not run.settled
        with pytest.raises(UserError, match=r"status\.json"):
            run.start("control", 1, 2, {})
        assert file.read_bytes() == damaged


def test_the_end_of_a_log_is_read_from_where_it_is_asked_for(tmp_path):
    (tmp_path / "log").write_bytes(b"first\nsecond \xff\n")
    assert read_end(tmp_path / "log", 100) == "first\nsecond \ufffd\n"
    assert read_end(tmp_path / "log", 100, start=6) == "second \ufffd\n"
    assert read_end(tmp_path / "log", 3) == " \ufffd\n"
    os.mkfifo(tmp_path / "pipe")
    assert read_end(tmp_path / "pipe", 3) == read_end(tmp_path / "absent", 3) == ""
    assert read_end(Path("/dev/zero"), 3) == ""


def test_a_settings_file_that_is_not_text_is_a_sentence_when_it_is_rewritten(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"arms: \xff")
    with pytest.raises(UserError, match="not UTF-8"):
        write_changed(tmp_path / "params.yaml", "arms: {}")
    assert (tmp_path / "params.yaml").read_bytes() == b"arms: \xff"
