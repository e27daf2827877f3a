"""dvc.yaml and .dvc files as validated data: which stages a pipeline folder declares, and what they
write.

Paths and commands keep their references (`${key}`); `app.provenance.pipeline` fills them in. Keys
that are not used here are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from study.reading import UserError, quoted, read_yaml
from study.settings import explain

LONGEST_PATH, LONGEST_NAME = 1000, 255  # file systems take up to 4,096 and 255 bytes
MOST = 10**18  # bytes or files
Checked = TypeVar("Checked", bound=BaseModel)


class Out(NamedTuple):
    """An output: `path` from the folder; whether DVC stores it in the cache, and pushes it to
    remotes."""

    path: str
    cached: bool
    pushed: bool


def checked_path(value: Any) -> str:
    """A path as DVC writes it. Raises ValueError for what no file can be called."""
    names = str(value).encode(errors="replace").split(b"/")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{quoted(value)} is not a path; accepted: printable text")
    if len(value) > LONGEST_PATH or max(map(len, names)) > LONGEST_NAME:
        raise ValueError(
            f"{quoted(value)} is too long for a path; accepted: up to {LONGEST_PATH} characters, "
            f"and {LONGEST_NAME} bytes between slashes"
        )
    return value


def _named(value: Any) -> tuple[str, Mapping[str, Any]]:
    """`path`, or `path: {option: value}`."""
    if isinstance(value, Mapping) and len(value) == 1:
        path, options = next(iter(value.items()))
        options = {} if options is None else options
    else:
        path, options = value, {}
    if not isinstance(path, str) or not isinstance(options, Mapping):
        raise ValueError(
            f"{quoted(value)} is not a path; accepted: PATH, or PATH: {{OPTION: VALUE}}"
        )
    return checked_path(path), options


def _out(value: Any) -> Out:
    path, options = _named(value)
    flags = [options.get(name, True) for name in ("cache", "push")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"cache and push of {path} are {quoted(flags)}; accepted: true or false")
    return Out(path, flags[0], flags[0] and flags[1])


def _settings(value: Any) -> dict[str, list[str]]:
    """Parameter file -> dotted keys; a text alone is a key of params.yaml."""
    found = {"params.yaml": [value]} if isinstance(value, str) else value
    if not isinstance(found, Mapping) or not all(
        isinstance(file, str)
        and (keys is None or isinstance(keys, list))
        and all(isinstance(key, str) for key in keys or ())
        for file, keys in found.items()
    ):
        raise ValueError(f"{quoted(value)} is not a setting; accepted: KEY, or FILE: [KEY, ...]")
    return {file: keys or [] for file, keys in found.items()}


def _command(value: Any) -> str:
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise ValueError(f"{quoted(value)} is not a command; accepted: text or a list of texts")
    return str(value)


Outs = list[Annotated[Out, BeforeValidator(_out)]]
FilePath = Annotated[str, BeforeValidator(checked_path)]
Count = Annotated[int, Field(ge=0, lt=MOST)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Body(_Part):
    """What a stage runs, reads and writes. `params`: a file and its dotted keys per entry."""

    cmd: Annotated[str, BeforeValidator(_command)] = ""
    deps: list[Annotated[str, BeforeValidator(lambda value: _named(value)[0])]] = []
    params: list[Annotated[dict[str, list[str]], BeforeValidator(_settings)]] = []
    outs: Outs = []
    metrics: Outs = []
    plots: Outs = []

    @property
    def written(self) -> list[Out]:
        """The outputs, including metrics and plots."""
        return [*self.outs, *self.metrics, *self.plots]


class Stage(Body):
    """An entry of dvc.yaml. One that iterates over a mapping (`foreach`) has its body in `do`."""

    foreach: Any = None
    do: Body | None = None

    @model_validator(mode="after")
    def _whole(self) -> Stage:
        if self.iterates and self.do is None:
            raise ValueError("foreach without do; accepted: both of them or none")
        return self

    @property
    def iterates(self) -> bool:
        return "foreach" in self.model_fields_set

    @property
    def body(self) -> Body:
        return self if self.do is None else self.do


class Stored(_Part):
    """An input or output of a .dvc file; `md5` is "" before the first run."""

    path: FilePath
    md5: str = ""
    size: Count = 0
    nfiles: Count = 1
    push: bool = True


class DvcFile(_Part):
    """A .dvc file. Paths of outputs start at its folder."""

    deps: list[Stored] = []
    outs: list[Stored] = []


def declared(folder: Path) -> dict[str, Stage]:
    """Stage -> its entry in dvc.yaml; empty without a dvc.yaml.

    Raises UserError that names the file, the stage and what is wrong.
    """
    file = folder / "dvc.yaml"
    content = read_yaml(file) if file.is_file() else None
    section = {} if content is None else content
    if isinstance(section, Mapping):
        section = section.get("stages")
        section = {} if section is None else section
    if not isinstance(section, Mapping):
        raise UserError(f"{file} has no mapping 'stages'; restore it (`git checkout -- {file}`)")
    return {str(k): _checked(file, Stage, v, f"stages.{k}"[:99]) for k, v in section.items()}


def read_dvc_file(file: Path) -> DvcFile:
    """Raises UserError that names the file and what is wrong."""
    content = read_yaml(file)
    return _checked(file, DvcFile, {} if content is None else content, "")


def _checked(file: Path, model: type[Checked], content: Any, where: str) -> Checked:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        words = explain(error, content, where, model)
        raise UserError(f"{file}: {words}; restore it (`git checkout -- {file}`)") from None
