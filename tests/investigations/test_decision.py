"""Gold, silver, pivot: the published rule on swapped numbers, crash rules, missing arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from evidence import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.evidence.arms import ArmResults
from study.investigations.published.decision import ROLES, branch, decide, least_failures, section
from study.settings import Arm

BLOCKS = {
    role: {"name": "hybrid" if role in ("control", "agc") else "stable_hybrid", "kind": role}
    for role in ROLES
}
losses_of = st.fixed_dictionaries({role: st.floats(0.01, 1) for role in ROLES})
rates_of = st.fixed_dictionaries({role: st.sampled_from([0, 0.25, 0.5, 1]) for role in ROLES})
shown = st.sampled_from([True, False, None])


def arm(
    name: str, role: str, losses: Sequence[float], dead: int = 0, depth: int = 4, **facts: Any
) -> ArmResults:
    """Seeds 1, 2, ... with these last losses; the first `dead` of them collapsed."""
    row = Arm.model_validate(stored.arm(generator={**BLOCKS[role], "fno_blocks": depth}))
    seeds = {}
    for seed, loss in enumerate(losses, 1):
        collapsed = {"outcome": "collapsed", "cause": "no better than a constant"}
        seen = {"last__val_loss": loss, "last__published__amplitude__ssim": 0.9, **facts}
        seen |= collapsed if seed <= dead else {}
        seeds[seed] = stored.seed_json(name, row, seed, 0.1, **seen)
    return ArmResults(name, seeds, {})


def four(
    losses: Mapping[str, float], dead: Mapping[str, int], prefix: str = "", **facts: Any
) -> dict[str, ArmResults]:
    """Every role with eight seeds about its loss."""
    spread = [0.001 * i for i in range(8)]
    return {
        f"{prefix}{role}": arm(
            f"{prefix}{role}", role, [losses[role] + d for d in spread], dead.get(role, 0), **facts
        )
        for role in ROLES
    }


EVEN = dict.fromkeys(ROLES, 0.05)
GOLD = {**EVEN, "stable": 0.03}
FAILING = {"control": 4, "agc": 4, "stable_layerscale": 4}


def under(arms: Mapping[str, ArmResults], rule: str = "outcome") -> dict[str, Any]:
    return decide(arms)["under"][rule]


# --- the rule itself


@settings(deadline=None, max_examples=25)
@given(losses_of, rates_of, shown)
def test_gold_turns_when_stable_and_control_are_swapped(
    losses: dict[str, float], rates: dict[str, float], scales: bool | None
) -> None:
    def swapped(values: dict[str, float]) -> dict[str, float]:
        return {**values, "stable": values["control"], "control": values["stable"]}

    if branch(losses, rates, scales) == "gold":
        assert branch(swapped(losses), swapped(rates), scales) != "gold"


@settings(deadline=None, max_examples=25)
@given(losses_of, rates_of, shown)
def test_a_control_that_never_fails_leaves_the_pivot(
    losses: dict[str, float], rates: dict[str, float], scales: bool | None
) -> None:
    assert branch(losses, {**rates, "control": 0}, scales) == "pivot"


@settings(deadline=None, max_examples=25)
@given(losses_of, rates_of, shown)
def test_a_worse_agc_never_earns_silver(
    losses: dict[str, float], rates: dict[str, float], scales: bool | None
) -> None:
    if branch(losses, rates, scales) != "silver":
        assert branch({**losses, "agc": losses["agc"] * 2}, rates, scales) != "silver"
        assert branch(losses, {**rates, "agc": 1}, scales) != "silver"


@settings(deadline=None, max_examples=25)
@given(losses_of, rates_of)
def test_refuted_scaling_alone_takes_gold_away(
    losses: dict[str, float], rates: dict[str, float]
) -> None:
    assert branch(losses, rates, False) != "gold"
    assert branch(losses, rates, True) == branch(losses, rates, None)


@pytest.mark.parametrize(("factor", "expected"), [(1.09, "silver"), (1.11, "pivot")])
def test_silver_allows_ten_percent(factor: float, expected: str) -> None:
    rates = {"control": 0.5, "stable": 0.5, "agc": 0.0, "stable_layerscale": 0.0}
    assert branch({**EVEN, "agc": 0.05 * factor}, rates, None) == expected


# --- from stored results


def test_gold_silver_and_pivot_from_stored_results() -> None:
    gold = under(four(GOLD, FAILING))
    assert (gold["branch"], gold["candidate"]) == ("gold", "stable")
    silver = under(four(EVEN, {"control": 4, "stable": 4}))
    assert (silver["branch"], silver["candidate"]) == ("silver", "agc")
    pivot = under(four(EVEN, {}))
    assert (pivot["branch"], pivot["candidate"]) == ("pivot", "stable_layerscale")
    assert "can only end at the pivot" in " ".join(pivot["limits"])


def test_swapping_the_stored_arms_flips_the_branch() -> None:
    arms = four(GOLD, FAILING)
    swapped = {
        **arms,
        "stable": ArmResults("stable", arms["control"].seeds, {}),
        "control": ArmResults("control", arms["stable"].seeds, {}),
    }
    assert (under(arms)["branch"], under(swapped)["branch"]) == ("gold", "pivot")


def test_the_published_rule_calls_healthy_runs_near_one_half_crashed_and_ours_does_not() -> None:
    arms = four(EVEN, {}, last__published__amplitude__ssim=0.49)
    both = decide(arms)
    assert both["under"]["published"]["failures"]["control"]["failed"] == 8
    assert both["under"]["outcome"]["failures"]["control"]["failed"] == 0
    assert both["agree"]
    split = {**arms, "agc": four(EVEN, {})["agc"]}
    message = decide(split)
    assert not message["agree"]
    assert message["under"]["published"]["branch"] == "silver"
    assert "different branches" in section(message) and "control 8 against 0 of 8" in section(
        message
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"last__val_loss": 0.16},
        {"last__val_loss": None},
        {"last__published__amplitude__ssim": None},
        {"last": None, "outcome": "failed", "cause": "NaN"},
        {
            "last__gate__amplitude": {
                "evaluable": False,
                "reason": "constant amplitude",
                "spread_ratio": 0.0,
            }
        },
    ],
)
def test_each_part_of_the_published_crash_rule_counts(facts: dict[str, Any]) -> None:
    arms = four(EVEN, {})
    arms["agc"] = arm("agc", "agc", [0.05] * 8, **facts)
    assert under(arms, "published")["failures"]["agc"]["failed"] == 8


def test_a_run_without_a_loss_counts_as_infinitely_bad_and_no_json_holds_infinity() -> None:
    arms = four(EVEN, {"control": 8})
    arms["stable"] = arm("stable", "stable", [0.01] * 8, last__val_loss=None)
    message = decide(arms)
    assert message["median_loss"]["stable"] is None
    assert message["under"]["outcome"]["branch"] != "gold"
    assert not any(math.isinf(v) for v in message["median_loss"].values() if v is not None)


def test_a_missing_arm_or_other_data_decide_nothing() -> None:
    arms = four(EVEN, {})
    del arms["agc"]
    assert decide(arms)["under"] is None and "agc" in decide(arms)["reason"]
    assert "Not decided: no results of agc" in section(decide(arms))
    other = four(EVEN, {})
    data = {"path": "data/other", "sha256": "e" * 64, "kind": "simulated"}
    other["agc"] = arm("agc", "agc", [0.05] * 8, data=data)
    assert decide(other)["reason"] == "the arms ran on different data"


def test_a_deleted_seed_decides_nothing_and_is_named() -> None:
    arms = four(EVEN, {"stable": 1})
    left = {seed: content for seed, content in arms["stable"].seeds.items() if seed != 1}
    message = decide({**arms, "stable": ArmResults("stable", left, {})})
    assert message["under"] is None and message["reason"].endswith("stable lacks 1")


def test_the_recorded_study_goes_before_the_root_one_when_it_is_whole() -> None:
    root, study = four(EVEN, {}), four(EVEN, {}, "studies/")
    assert decide({**root, **study})["arms"]["stable"] == "studies/stable"
    del study["studies/agc"]
    assert decide({**root, **study})["arms"]["stable"] == "stable"


# --- scaling


def deep(candidate: float, control: float, role: str = "stable") -> dict[str, ArmResults]:
    names = {"candidate": (role, candidate), "control": ("control", control)}
    return {
        f"studies/{name}_d5": arm(f"studies/{name}_d5", who, [loss] * 3, depth=5)
        for name, (who, loss) in names.items()
    }


def test_gold_is_conditional_until_the_deep_pair_is_there_and_lost_when_it_fails() -> None:
    arms = four(GOLD, FAILING)
    open_ = under(arms)
    assert open_["branch"] == "gold" and open_["scales"]["scales"] is None
    assert under({**arms, **deep(0.02, 0.04)})["scales"]["scales"] is True
    lost = under({**arms, **deep(0.05, 0.04)})
    assert lost["branch"] != "gold"


def test_a_deep_pair_of_another_arm_shows_nothing() -> None:
    message = under({**four(GOLD, FAILING), **deep(0.02, 0.04, role="agc")})
    assert (
        message["scales"]["scales"] is None
        and "is not stable with five blocks" in message["scales"]["reason"]
    )


# --- what the seeds show


def test_each_seed_is_left_out_once_and_one_that_decides_is_seen() -> None:
    message = under(four(GOLD, {"control": 1}))
    assert sum(message["left_out"].values()) == 8
    assert message["branch"] == "gold" and message["left_out"] == {"gold": 7, "pivot": 1}


def test_rates_have_exact_intervals_and_the_least_difference_is_fishers() -> None:
    message = under(four(EVEN, {}))
    upper = 1 - 0.025 ** (1 / 8)
    assert message["failures"]["control"]["high"] == pytest.approx(upper)
    least = least_failures(8, 8)
    assert least is not None
    ps = [stats.fisher_exact([[k, 8 - k], [0, 8]]).pvalue for k in (least - 1, least)]
    assert ps[0] > 0.05 >= ps[1]
    assert least_failures(3, 3) is None
