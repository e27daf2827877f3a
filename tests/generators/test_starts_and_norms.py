"""Where a hybrid's output starts, what goes in beside the amplitude, and the decoder's norm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small import amplitude, network, params
from torch import Tensor, nn

from study.generators import size
from study.generators.base import Generator
from study.generators.heads import OUTPUT_MODES
from study.generators.hybrid import DecoderLevel

family = pytest.mark.parametrize("name", ["hybrid", "stable_hybrid"])


def turned(amplitude: Tensor) -> Tensor:
    """Stands for the back-projection: any complex patch of the pattern alone."""
    return torch.complex(0.5 + amplitude, -amplitude.flip(-1))


def with_back_projection(
    name: str, look: Callable[[Tensor], Tensor] = turned, **changes: object
) -> Generator:
    net = network(name, **changes)
    net.back_project = look
    return net


def zero_head(net: Generator) -> Generator:
    with torch.no_grad():
        for value in net.head.parameters():
            value.zero_()
    return net


# --- start ------------------------------------------------------------------------------------


@family
def test_a_zeroed_head_gives_the_start(name: str) -> None:
    x = amplitude(3, 2, 16)
    ones, zeros = torch.ones(3, 2, 16, 16, dtype=torch.complex64), torch.zeros(3, 2, 16, 16)
    assert zero_head(network(name, channels=2, start="zero"))(x).equal(zeros.to(torch.complex64))
    assert zero_head(network(name, channels=2, start="one"))(x).equal(ones)
    assert zero_head(with_back_projection(name, channels=2, start="back_projection"))(x).equal(
        turned(x)
    )


@family
@pytest.mark.parametrize("mode", sorted(OUTPUT_MODES))
def test_the_start_is_added_and_moves_no_weight(name: str, mode: str) -> None:
    x, given = amplitude(2, 1, 16), {"output_mode": mode}
    plain = network(name, **given)
    for start, added in (("one", torch.ones(())), ("back_projection", turned(x))):
        net = with_back_projection(name, start=start, **given)
        assert all(a.equal(b) for a, b in zip(net.parameters(), plain.parameters(), strict=True))
        assert net(x).equal(plain(x) + added)


def test_no_gradient_goes_through_the_back_projection() -> None:
    scale = torch.ones((), requires_grad=True)
    net = with_back_projection("hybrid", lambda x: scale * turned(x), start="back_projection")
    net(amplitude(2, 1, 16)).abs().sum().backward()
    assert scale.grad is None


# --- inputs -----------------------------------------------------------------------------------


@family
def test_the_back_projection_goes_in_behind_the_amplitude(name: str) -> None:
    """Real parts of all channels, then imaginary parts; the amplitude is transformed, they not."""
    net = with_back_projection(
        name, channels=2, inputs="with_back_projection", input_transform="log1p"
    )
    seen: list[Tensor] = []
    net.get_submodule("lifter").register_forward_hook(lambda m, given, out: seen.append(given[0]))
    x = amplitude(3, 2, 16)
    net(x)
    back = turned(x)
    assert seen[0].equal(torch.cat([x.log1p(), back.real, back.imag], dim=1))


@pytest.mark.parametrize("channels", [1, 4])
def test_the_size_counts_the_wider_input_and_needs_no_probe(channels: int) -> None:
    """Two more input channels for each c: 2 c w 3 x 3 weights."""
    plain, wide = (
        size(params("hybrid", inputs=inputs), 16, channels)
        for inputs in ("amplitude", "with_back_projection")
    )
    assert wide.parameters - plain.parameters == 2 * channels * 4 * 9
    start = size(params("hybrid", start="back_projection"), 16, channels)
    assert start.parameters == plain.parameters


# --- the decoder's norm -----------------------------------------------------------------------


def merge_scaled(net: Generator, factor: float) -> Generator:
    with torch.no_grad():
        for level in net.modules():
            if isinstance(level, DecoderLevel):
                level.merge.weight.mul_(factor)
                level.merge.bias.mul_(factor)
    return net


@family
def test_a_normed_decoder_does_not_see_the_scale_of_its_merge(name: str) -> None:
    x = 30 * amplitude(3, 1, 16)  # eps is nothing beside the variance
    before = network(name, decoder_norm="group")(x)
    after = merge_scaled(network(name, decoder_norm="group"), 10.0)(x)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    plain = network(name, decoder_norm="none")(x)
    grown = merge_scaled(network(name, decoder_norm="none"), 10.0)(x)
    assert (grown - plain).abs().mean() > 0.1 * plain.abs().mean()


def test_the_norm_stands_between_the_merge_and_its_gelu() -> None:
    """refine(GELU(norm(merge))), the norm over all channels and pixels of a pattern."""
    level = DecoderLevel(6, 4, "group")
    x, skip = torch.randn(2, 6, 4, 4), torch.randn(2, 4, 8, 8)
    merged = level.merge(torch.cat([level.up(x), skip], dim=1))
    mean = merged.mean(dim=(1, 2, 3), keepdim=True)
    spread = (merged - mean).square().mean(dim=(1, 2, 3), keepdim=True)
    normed = (merged - mean) / (spread + 1e-5).sqrt()
    expected = level.refine(nn.functional.gelu(normed))
    torch.testing.assert_close(level(x, skip), expected, rtol=1e-5, atol=1e-5)


@family
def test_every_normed_level_trains(name: str) -> None:
    net = network(name, decoder_norm="group")
    (net(amplitude(4, 1, 16)) - 1).abs().mean().backward()
    norms = [m for m in net.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 2
    assert all(p.grad is not None and p.grad.any() for norm in norms for p in norm.parameters())


def test_effective_reads_the_norm_from_the_live_decoder() -> None:
    net = network("hybrid", decoder_norm="group")
    assert net.effective()["decoder_norms"] == ["GroupNorm"]
    net.get_submodule("decoder.0").norm = None
    assert net.effective()["decoder_norms"] == ["GroupNorm", "none"]
    assert network("stable_hybrid").effective()["decoder_norms"] == ["none"]
