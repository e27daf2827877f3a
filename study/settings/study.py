"""The whole of params.yaml: data sets, arms, questions and sections of investigations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

from study import investigations
from study.reading import UserError, quoted, read_yaml
from study.settings.arm import Arm
from study.settings.base import Model, check_name, nearest, seeds_text
from study.settings.data import DataParams
from study.settings.errors import explain
from study.settings.references import Reference

Row = Arm | Reference


class Question(Model):
    """A study within a pipeline: what it asks, and the arms that answer it."""

    asks: Annotated[str, Field(min_length=1)]
    arms: Annotated[tuple[str, ...], Field(min_length=1)]


class Section(Model):
    """A section of params.yaml that an investigation reads (its part `settings`).

    `key`: its name in the file; `arms`: its keys, at any depth, whose values are names of arms.
    """

    key: ClassVar[str]
    arms: ClassVar[tuple[str, ...]]

    def check(self, study: Study) -> None:
        """Raise ValueError unless the section fits the data sets and arms of `study`."""


SomeSection = TypeVar("SomeSection", bound=Section)


class Study(Model):
    """The whole of params.yaml."""

    data: Mapping[str, DataParams]
    arms: Mapping[str, Row]
    studies: Mapping[str, Question] = {}
    _sections: dict[str, Section] = PrivateAttr(default_factory=dict)

    @classmethod
    def known_keys(cls) -> list[str]:
        return [*cls.model_fields, *_section_kinds()]

    @property
    def sections(self) -> Mapping[str, Section]:
        """Sections of investigations, by key."""
        return self._sections

    def section(self, kind: type[SomeSection]) -> SomeSection:
        """The section that `kind` reads. Raises UserError where the file has none."""
        found = self._sections.get(kind.key)
        if not isinstance(found, kind):
            raise UserError(f"params.yaml has no key `{kind.key}`")
        return found

    @model_validator(mode="wrap")
    @classmethod
    def _with_sections(cls, given: Any, read: ModelWrapValidatorHandler[Study]) -> Study:
        """Every section is read by its own model, and checked against the rest of the file."""
        if not isinstance(given, Mapping):
            return read(given)
        kinds = _section_kinds()
        study = read({key: value for key, value in given.items() if key not in kinds})
        for key, kind in kinds.items():
            if key in given:
                study._sections[key] = _section(kind, given[key])
                study._sections[key].check(study)
        return study

    @model_validator(mode="before")
    @classmethod
    def _rows_by_kind(cls, given: Any) -> Any:
        """Choose the model of each row here: a union would report the errors of both."""
        if not isinstance(given, Mapping) or not isinstance(given.get("arms"), Mapping):
            return given
        arms = {str(name): _row(str(name), row) for name, row in given["arms"].items()}
        return {**given, "arms": arms}

    @model_validator(mode="after")
    def _names_and_references(self) -> Study:
        for name in (*self.arms, *self.data, *self.studies):
            check_name(name)
        for name, question in self.studies.items():
            unknown = [arm for arm in question.arms if arm not in self.arms]
            if unknown:
                raise ValueError(
                    f"studies.{name}.arms names {quoted(unknown[0])}, which is not an arm"
                    f"{nearest(unknown[0], self.arms)}"
                )
        for name, row in self.arms.items():
            if row.versus is not None and row.versus not in self.arms:
                raise ValueError(
                    f"arms.{name}.versus is {quoted(row.versus)}, which is not an arm"
                    f"{nearest(row.versus, self.arms)}"
                )
            room, _, stem = row.data.partition("/")
            if room == "data" and stem not in self.data:
                raise ValueError(
                    f"arms.{name}.data is {row.data!r} but `data:` has no {stem!r}"
                    f"{nearest(stem, self.data)}"
                )
        return self

    @model_validator(mode="after")
    def _seeds_fit(self) -> Study:
        """Every run has the objects of its seed where the data set draws them per seed."""
        rows = {}
        for name, row in self.arms.items():
            data = self.data.get(row.data.removeprefix("data/"))
            held = data.seeds if data is not None else None
            if held is None:
                rows[name] = row
            elif isinstance(row, Reference):
                rows[name] = row.model_copy(update={"seeds": held})
            else:
                check_held(f"arms.{name}.seeds", row.seeds, row.data, held)
                rows[name] = row
        return self.model_copy(update={"arms": rows})


def _section_kinds() -> dict[str, type[Section]]:
    return {part.SECTION.key: part.SECTION for part in investigations.parts("settings")}


def check_held(where: str, seeds: Sequence[int], data: str, held: Sequence[int]) -> None:
    """Raise ValueError for seeds without objects in the data set."""
    absent = [seed for seed in seeds if seed not in held]
    if absent:
        raise ValueError(
            f"{where} has {seeds_text(absent)}, but {data} draws objects for seeds "
            f"{seeds_text(held)} only; add the others to the seeds of the data set, or remove them"
        )


def _section(kind: type[Section], given: Any) -> Section:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, kind.key, kind)) from None


def _row(name: str, given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    model = Reference if "source" in given else Arm
    if model is Reference and "seeds" in given:
        raise UserError(
            f"arms.{name}.seeds: a baseline accepts no seeds; it runs once per seed of its data set"
        )
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, f"arms.{name}", model)) from None


def mentions(section: Any, keys: Collection[str], value: str) -> Iterator[tuple[Any, Any]]:
    """(mapping, key) of every `key` of `keys` in a section, at any depth, that has this value."""
    items = section.items() if isinstance(section, Mapping) else enumerate(section)
    for key, item in items:
        if key in keys and item == value:
            yield section, key
        elif isinstance(item, (Mapping, list, tuple)):
            yield from mentions(item, keys, value)


def load_study(path: Path = Path("params.yaml")) -> Study:
    """The settings of one pipeline folder. Raises UserError with every problem named."""
    return parse_study(read_yaml(path), str(path))


def parse_study(given: Any, where: str) -> Study:
    try:
        return Study.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, given, '', Study)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def find_row(study: Study, name: str) -> Row:
    """The arm or reference called `name`. Raises UserError with the nearest known name."""
    if name not in study.arms:
        raise UserError(f"no arm {quoted(name)}{nearest(name, study.arms)}")
    return study.arms[name]
