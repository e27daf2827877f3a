"""The unrolled network: untrained steps at the start, learned ones afterwards."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from small import amplitude, network, params, probe

from study.generators import build, size
from study.generators.base import Generator
from study.optics import diffract
from study.optics.descent import group_steps
from study.settings import UserError

N = 16


UNREAD = {"width": None, "layers": None, "kernel": None, "coarsening": None}


def unrolled(channels: int = 4, **changes: object) -> Generator:
    if changes.get("refinement") == "none":
        changes = {**changes, **UNREAD}
    return network("unrolled", n=N, channels=channels, **changes)


def step(net: Generator, rate: float = 0.05) -> None:
    """One step of gradient descent on the error of the predicted patterns."""
    x = amplitude(3, net.channels, N)
    net.zero_grad()
    (diffract(probe(N), net(x)) - x).abs().mean().backward()
    with torch.no_grad():
        for value in net.parameters():
            if value.grad is not None:
                value -= rate * value.grad / value.grad.norm().clamp(min=1e-12)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    ("refinement", "coarsening"), [*product(["own", "shared"], [1, 2]), ("none", 1)]
)
def test_an_untrained_network_is_the_untrained_steps(
    channels: int, refinement: str, coarsening: int
) -> None:
    """2 iterations of 2 steps, and 1 final one."""
    net = unrolled(channels, modulus="replaced", refinement=refinement, coarsening=coarsening)
    x = amplitude(3, channels, N)
    expected = group_steps(x, probe(N), 5, "conjugate", 0.1)
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def test_alpha_and_smoothing_reach_the_steps() -> None:
    x = amplitude(3, 4, N)
    for alpha, smoothing_px in ((0.02, 0.0), (0.5, 0.0), (0.5, 0.8)):
        net = unrolled(modulus="replaced", alpha=alpha, smoothing_px=smoothing_px)
        expected = group_steps(x, probe(N), 5, "conjugate", alpha, smoothing_px)
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def test_the_dose_acts_only_through_the_likelihood() -> None:
    x = amplitude(3, 4, N)
    for modulus, acts in (("likelihood", True), ("replaced", False)):
        net = unrolled(modulus=modulus)
        found = []
        for photon_scale in (1e6, 1.0):
            net.learn_probe(probe(N), photon_scale)
            found.append(net(x).detach())
        assert found[0].equal(found[1]) is not acts


@pytest.mark.parametrize("refinement", ["own", "shared", "none"])
@pytest.mark.parametrize("modulus", ["replaced", "likelihood"])
def test_only_the_layers_before_a_zero_one_are_silent_at_first(
    refinement: str, modulus: str
) -> None:
    net = unrolled(refinement=refinement, modulus=modulus)
    step(net)
    silent = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    expected = {
        name
        for name, _ in net.named_parameters()
        if name.startswith("refinements") and "layers.4" not in name
    }
    assert silent == expected
    step(net)
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_training_fits_the_patterns_better_than_the_untrained_steps() -> None:
    net, x = unrolled(), amplitude(3, 4, N)
    errors = []
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = (diffract(probe(N), net(x)) - x).abs().mean()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    # Random amplitudes belong to no object: only part of the error can be trained away.
    assert errors[-1] < 0.97 * errors[0]


def test_a_transposed_group_gives_the_transposed_patches() -> None:
    """Patterns 2 and 3 change places: the steps prefer no axis."""
    net = unrolled(refinement="none").double()
    net.learn_probe(probe(N).to(torch.complex128), 5.0)
    x = amplitude(3, 4, N).double()
    order = [0, 2, 1, 3]
    swapped = net(x[:, order].mT.contiguous())
    torch.testing.assert_close(swapped, net(x)[:, order].mT)


@pytest.mark.parametrize(("layers", "kernel"), [(1, 3), (1, 7), (2, 5)])
def test_a_refinement_has_the_layers_and_the_reach_that_it_was_given(
    layers: int, kernel: int
) -> None:
    width = None if layers == 1 else 4
    net = unrolled(layers=layers, width=width, kernel=kernel, refinement="shared")
    found = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(found) == layers
    assert {conv.kernel_size for conv in found} == {(kernel, kernel)}
    step(net)
    step(net)
    assert found[0].weight.grad is not None and found[0].weight.grad.any()


def test_patches_of_a_group_are_cut_from_one_window() -> None:
    """Where two patches overlap they are equal, trained or not."""
    net = unrolled()
    step(net)
    patch = net(amplitude(2, 4, N))
    assert patch[:, 0, 4:, :].equal(patch[:, 2, :-4, :])
    assert patch[:, 0, :, 4:].equal(patch[:, 1, :, :-4])


def test_shared_weights_are_those_of_one_iteration() -> None:
    own, shared, none = (
        size(params("unrolled", 4, **changes), N, 4).parameters
        for changes in ({}, {"refinement": "shared"}, {"refinement": "none", **UNREAD})
    )
    assert own - none == 2 * (shared - none) > 0


def test_data_without_groups_is_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"patterns: 4.*group_size 1"):
        build(params("unrolled", 4), n=N, channels=1, seed=0)
    with pytest.raises(UserError, match=r"patterns: 1.*group_size 4"):
        size(params("unrolled", 1), n=N, channels=4)


def test_a_window_that_cannot_be_folded_is_refused() -> None:
    with pytest.raises(UserError, match="n = 15"):
        build(params("unrolled", 4, coarsening=2), n=15, channels=4, seed=0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": 1}, "width"),
        ({"width": None}, "width"),
        ({"kernel": None}, "kernel"),
        ({**UNREAD, "refinement": "none", "coarsening": 2}, "coarsening"),
    ],
)
def test_options_that_nothing_reads_or_that_are_missing_are_refused(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(UserError, match=f"{named} is"):
        size(params("unrolled", 4, **changes), N, 4)


def test_without_the_probe_it_refuses_in_words() -> None:
    net = build(params("unrolled", 4), n=N, channels=4, seed=0)
    with pytest.raises(UserError, match="probe"):
        net(amplitude(1, 4, N))


def test_the_noise_is_stored_with_the_weights() -> None:
    net, other = unrolled(), build(params("unrolled", 4), n=N, channels=4, seed=1)
    other.load_state_dict(net.state_dict())
    other.learn_probe(probe(N), None)
    x = amplitude(2, 4, N)
    assert other(x).equal(net(x))
    other.learn_probe(probe(N), 50.0)
    assert not other(x).equal(net(x))
