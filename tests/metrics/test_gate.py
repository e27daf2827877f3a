import numpy as np
import pytest

from study.metrics import score
from study.metrics.gate import gate
from study.metrics.pair import checked_scene
from study.settings import UserError

LIMIT = 0.05


def judged(prediction, truth, patches=None):
    return gate(checked_scene(prediction, truth, None), patches)


def with_amplitude(amplitude, like):
    return amplitude * np.exp(1j * np.angle(like))


@pytest.mark.parametrize("factor, evaluable", [(0.95, False), (1.05, True)])
def test_spread_limit_of_amplitude_is_relative(truth, factor, evaluable):
    """Std / mean counts: the level of the prediction does not."""
    a = np.abs(truth)
    shrunk = 7 * (a.mean() + factor * LIMIT * (a - a.mean()))
    verdict = judged(with_amplitude(shrunk, truth), truth)["amplitude"]
    assert verdict["evaluable"] is evaluable
    assert verdict["reason"] == (None if evaluable else "constant amplitude")
    assert verdict["spread_ratio"] == pytest.approx(factor * LIMIT)


@pytest.mark.parametrize("factor, evaluable", [(0.95, False), (1.05, True)])
@pytest.mark.parametrize("offset", [0.0, np.pi])
def test_spread_limit_of_phase_ignores_the_global_phase(truth, factor, evaluable, offset):
    """At an offset of pi a flat phase jumps between -pi and pi; it is flat all the same."""
    phase = np.angle(truth)
    shrunk = np.exp(1j * (offset + factor * LIMIT * (phase - phase.mean())))
    assert judged(shrunk, truth)["phase"]["evaluable"] is evaluable


def test_flat_truth_is_not_evaluable(truth):
    weak = np.exp(1j * np.angle(truth)).astype(np.complex64)
    verdict = judged(truth, weak)
    assert verdict["amplitude"] == {
        "evaluable": False,
        "reason": "flat truth amplitude",
        "spread_ratio": None,
    }
    assert verdict["phase"]["evaluable"]


def test_equal_outputs_are_not_evaluable(truth):
    patch = truth[:32, :32]
    same = np.stack([patch * (1 + 1e-3 * k) for k in range(4)])
    verdict = judged(truth, truth, same)
    assert verdict["amplitude"]["reason"] == "equal amplitude for different inputs"
    assert verdict["phase"]["reason"] == "equal phase for different inputs"
    different = np.stack([truth[k : k + 32, k : k + 32] for k in range(0, 80, 20)])
    assert all(channel["evaluable"] for channel in judged(truth, truth, different).values())


def test_equal_outputs_blank_the_standard_set(truth):
    same = np.stack([truth[:32, :32]] * 3).astype(np.complex64)
    scores = score(truth, truth, "standard", patches=same)
    assert set(scores["phase"].values()) == {None}
    assert "equal phase for different inputs" in scores["reasons"]["phase.mae"]


def test_one_patch_cannot_differ(truth):
    with pytest.raises(UserError, match="got 1 patch"):
        judged(truth, truth, truth[None, :32, :32])


def test_zero_prediction_is_constant(truth):
    verdict = judged(np.zeros_like(truth), truth)
    assert verdict["amplitude"]["reason"] == "constant amplitude"
    assert verdict["phase"]["reason"] == "constant phase"
