"""Precision: the network's products alone change; physics, loss and weights stay float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from study.formats.dataset import Dataset
from study.runs import RunFolder
from study.settings import Arm, UserError, read_yaml
from study.training.data import Batch
from study.training.fit import fit
from study.training.precision import check_precision, effective, has_tf32, use
from study.training.reconstruct import load_generator
from study.training.setup import Run, build_run

CPU = torch.device("cpu")


def first_batch(run: Run) -> Batch:
    return next(iter(run.module.train_dataloader()))[0]


def test_bf16_computes_the_same_function_to_its_own_rounding(
    vary: Callable[..., Arm], tiny: Dataset
) -> None:
    """bfloat16 rounds to 8 bits; an equal result would say that the setting was lost."""
    full, half = (build_run(vary(precision=name), tiny, 0, CPU) for name in ("fp32", "bf16"))
    with torch.no_grad():
        a, b = (run.module.step.forward(first_batch(run)).amplitude for run in (full, half))
    error = float((a - b).norm() / a.norm())
    assert 2**-12 < error < 2**-4


@pytest.mark.parametrize("name", ["mae", "poisson", "supervised"])
def test_physics_loss_gradients_and_weights_stay_float32(
    name: str, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    run = build_run(vary(precision="bf16", loss=name), tiny, 0, CPU)
    step, batch = run.module.step, first_batch(run)
    prediction = step.forward(batch)
    assert prediction.patch.dtype == torch.complex64
    assert prediction.amplitude.dtype == torch.float32
    step(batch)
    for parameter in run.generator.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
    state = step.optimizer.state[next(run.generator.parameters())]
    assert state["exp_avg"].dtype == torch.float32


@pytest.mark.parametrize("network", ["hybrid", "stable_hybrid"])
@pytest.mark.slow
def test_bf16_trains_to_the_loss_of_fp32(
    network: str, vary: Callable[..., Arm], tiny: Dataset, tmp_path: Path
) -> None:
    extra = {"layerscale_init": 1e-3} if network == "stable_hybrid" else {}
    generator = {"name": network, **extra}
    last = {}
    for precision in ("fp32", "bf16"):
        folder = RunFolder(tmp_path / precision)
        fit(vary(generator=generator, precision=precision, epochs=3), tiny, 1, folder)
        last[precision] = folder.history()["train_loss"].tolist()
    assert last["bf16"] == pytest.approx(last["fp32"], rel=0.02)
    assert last["bf16"] != last["fp32"]


def test_what_acts_is_written_down(vary: Callable[..., Arm], tiny: Dataset, tmp_path: Path) -> None:
    fit(vary(precision="bf16", epochs=1), tiny, 0, RunFolder(tmp_path))
    settings = read_yaml(tmp_path / "params.yaml")
    assert settings["precision"] == "bf16"
    assert settings["cuda_graph"] == "the device is cpu; graphs are CUDA's"


def test_stored_weights_are_used_in_float32(
    vary: Callable[..., Arm], tiny: Dataset, tmp_path: Path
) -> None:
    fit(vary(precision="bf16", epochs=1), tiny, 0, RunFolder(tmp_path))
    generator = load_generator(RunFolder(tmp_path), "last")
    assert effective(generator, CPU) == "fp32"


@pytest.mark.skipif(has_tf32(), reason="this machine computes in tf32")
def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match="tf32 needs a CUDA device of compute capability"):
        check_precision("tf32")
    check_precision("fp32")
    check_precision("bf16")


def test_both_of_torchs_switches_agree(vary: Callable[..., Arm], tiny: Dataset) -> None:
    """Lightning reads the older one before it trains on a GPU; where they differ torch raises."""
    cuda, generator = torch.device("cuda"), build_run(vary(), tiny, 0, CPU).generator
    try:
        for name, older in (("fp32", "highest"), ("tf32", "high"), ("bf16", "highest")):
            use(name, generator, cuda)
            assert effective(generator, cuda) == name
            assert torch.get_float32_matmul_precision() == older
    finally:
        use("fp32", generator, cuda)


@pytest.mark.gpu
@pytest.mark.skipif(not has_tf32(), reason="no CUDA device with tf32")
def test_fp32_and_tf32_differ_by_ten_bits_on_cuda(vary: Callable[..., Arm], tiny: Dataset) -> None:
    """fp32 must switch off what cuDNN would round by itself."""
    device = torch.device("cuda")
    found = {}
    for name in ("fp32", "tf32"):
        run = build_run(vary(precision=name), tiny, 0, device)
        assert effective(run.generator, device) == name
        found[name] = run.module.step.forward(first_batch(run)).amplitude.cpu()
    on_cpu = build_run(vary(), tiny, 0, CPU)
    truth = on_cpu.module.step.forward(first_batch(on_cpu)).amplitude
    error = {name: float((a - truth).norm() / truth.norm()) for name, a in found.items()}
    assert error["fp32"] < 1e-5 < error["tf32"] < 1e-2
