"""What cannot be built is refused with names and numbers, before anything is allocated."""

from __future__ import annotations

import pytest
from small import NAMES, network, params

from study.generators import GENERATORS, build, check_geometry, parse, size
from study.generators.base import Options
from study.generators.hybrid import HybridOptions, HybridUNOGenerator
from study.settings import GeneratorParams, UserError

every_network = pytest.mark.parametrize("name", NAMES)


def without(name: str, option: str) -> GeneratorParams:
    options = {key: value for key, value in params(name).options.items() if key != option}
    return GeneratorParams(name=name, options=options)


@every_network
def test_parse_gives_the_class_and_its_options_in_full(name):
    cls, options = parse(params(name))
    assert cls is GENERATORS[name] and isinstance(options, cls.options)
    assert dict(options) == dict(params(name).options)


@every_network
def test_no_option_has_a_default(name):
    fields = GENERATORS[name].options.model_fields
    assert issubclass(GENERATORS[name].options, Options)
    assert fields and all(field.is_required() for field in fields.values())


@every_network
def test_each_missing_option_is_named(name):
    for option in GENERATORS[name].options.model_fields:
        with pytest.raises(UserError, match=f"{name}: {option} is missing"):
            parse(without(name, option))


def test_unknown_network_is_named_with_the_nearest():
    with pytest.raises(UserError, match="'hybird' is unknown; did you mean 'hybrid'"):
        parse(GeneratorParams(name="hybird", options={}))


def test_unknown_option_is_named_with_the_nearest():
    with pytest.raises(UserError, match="blocks; did you mean 'fno_blocks'"):
        parse(params("hybrid", blocks=4))


def test_several_mistakes_are_named_at_once():
    with pytest.raises(UserError, match=r"modes.*widht; did you mean 'width'"):
        parse(params("fno", widht=4, modes=0))


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [
        ("width", 0, "greater than or equal to 1"),
        ("width", "32", "valid integer"),
        ("width", 32.0, "valid integer"),
        ("width", True, "valid integer"),
        ("modes", 1, "greater than or equal to 2"),
        ("mode_set", "low", "'classic', 'centered' or 'corner'"),
        ("spectral_init", None, "'variance' or 'old'"),
        ("input_transform", "log", "'log1p'"),
        ("output_mode", "complex", "'real_imag'"),
        ("max_hidden_channels", 0, "greater than or equal to 1"),
        ("layerscale_init", 0.0, "greater than 0"),
        ("layerscale_init", "1e-3", "valid number"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(option, value, accepted):
    with pytest.raises(UserError, match=f"generator stable_hybrid: {option}: .*{accepted}"):
        parse(params("stable_hybrid", **{option: value}))


def test_a_cap_below_the_width_is_refused_with_both_numbers():
    with pytest.raises(UserError, match="max_hidden_channels 2 is below width 4"):
        parse(params("hybrid", max_hidden_channels=2))


@pytest.mark.parametrize(
    ("name", "most"),
    [("hybrid", 7), ("stable_hybrid", 6)],
)
def test_depth_at_64_pixels_ends_where_the_grid_does(name, most):
    check_geometry(params(name, fno_blocks=most), n=64)
    for blocks in (most + 1, 8):
        numbers = (
            rf"fno_blocks {blocks} does not fit n = 64.*64/{2 ** (blocks - 1)}.*at most {most}"
        )
        with pytest.raises(UserError, match=numbers):
            check_geometry(params(name, fno_blocks=blocks), n=64)


@pytest.mark.parametrize(("name", "most"), [("hybrid", 7), ("stable_hybrid", 6)])
def test_the_deepest_possible_network_runs(name, most):
    net = network(name, n=64, fno_blocks=most, max_hidden_channels=4)
    assert net.channels_per_level() == [4] * most


def test_a_grid_that_does_not_halve_is_refused():
    with pytest.raises(UserError, match=r"fno_blocks 4 does not fit n = 20.*20/8 = 2.5.*at most 3"):
        check_geometry(params("hybrid", fno_blocks=4), n=20)
    with pytest.raises(UserError, match="cnn does not fit n = 20"):
        check_geometry(params("cnn"), n=20)


def test_build_size_and_the_class_itself_refuse_alike():
    impossible = params("hybrid", width=4096, fno_blocks=16, max_hidden_channels=None)
    for ask in (
        lambda: build(impossible, n=64, channels=1, seed=0),
        lambda: size(impossible, n=64, channels=1),
        lambda: HybridUNOGenerator(HybridOptions(**impossible.options), 64, 1),
    ):
        with pytest.raises(UserError, match="fno_blocks 16 does not fit n = 64"):
            ask()
