"""Does a graphed step wait for the GPU? A trace of the steps under Lightning's loop, and a ban.

    python -m bench.gpu_profile --out gpu-results

Two proofs that no step waits
- A torch.profiler trace of at least 50 graphed steps, taken from the first step of one call of
  Lightning's loop to the last of another: runtime calls that wait, copies to the host, kernels, and
  the share of the time in which the GPU works. Fails where a tenth of the steps waits.
- The same steps under `torch.cuda.set_sync_debug_mode("error")`, which raises at every operation of
  torch that waits for the device.

The trace slows the host down; the milliseconds of a step without it are those of G1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import lightning
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

from bench.clock import now
from bench.loop import check_recorded, train
from bench.subject import Subject, full
from study.runs import write_json

REGION = "bench: graphed steps"
FIRST_CALL, LAST_CALL = 1, 2  # in the call before the first the graph is recorded
LIMIT = 0.1  # waits per step
WAITS = ("Synchronize", "cudaMemcpy", "cuMemcpy")  # the asynchronous copies end in Async
VERSION = re.compile(r"(_v\d+|_ptsz|_ptds)+$")  # of a runtime call's name
DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")

Event = Mapping[str, Any]


# --- watching the loop ------------------------------------------------------------------------


class Watch(Protocol):
    """What happens around the steps that are looked at."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class Between(lightning.Callback):
    """Lets `watch` act from the first to the last of the chosen calls of the loop; counts steps."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.steps = 0
        self.open = False

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Sequence[Any],
        batch_idx: int,
    ) -> None:
        if batch_idx == FIRST_CALL and trainer.current_epoch == 0:
            self.watch.begin()
            self.open = True
        self.steps += len(batch) * self.open

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if batch_idx == LAST_CALL and self.open:
            self._close()

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        if self.open:
            self._close()

    def _close(self) -> None:
        self.open = False
        self.watch.end()


class Tracer:
    """A trace of the region, written as `file` (a Chrome trace, gzipped)."""

    def __init__(self, file: Path, device: torch.device) -> None:
        self.file, self.device = file, device
        # The tools behind it are ready before the graph is recorded, so they know its kernels.
        with self._new():
            pass

    def _new(self) -> profile:
        on_gpu = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
        return profile(activities=[ProfilerActivity.CPU, *on_gpu])

    def begin(self) -> None:
        now(self.device)
        self.profile = self._new()
        self.profile.start()
        self.region = record_function(REGION)
        self.region.__enter__()

    def end(self) -> None:
        self.region.__exit__(None, None, None)
        now(self.device)
        self.profile.stop()
        self.profile.export_chrome_trace(str(self.file))

    def events(self) -> list[Event]:
        with gzip.open(self.file, "rt") as stream:
            return json.load(stream)["traceEvents"]


class Ban:
    """Torch raises where it would wait for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def begin(self) -> None:
        self._set("error")

    def end(self) -> None:
        self._set("default")

    def _set(self, mode: str) -> None:
        if self.device.type == "cuda":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Synchronization debug mode", UserWarning)
                torch.cuda.set_sync_debug_mode(mode)


# --- reading the trace ------------------------------------------------------------------------


def facts_of(events: Iterable[Event], steps: int) -> dict[str, Any]:
    """Numbers per step, and the share of the time in which the device works.

    `events`: of a Chrome trace, times in microseconds. Calls count between the ends of the region;
    the device's work counts wherever it lies, since the region was begun with nothing to do.
    """
    known = [event for event in events if event.get("ph") == "X"]
    (region,) = (e for e in known if e["name"] == REGION and e.get("cat") == "user_annotation")
    begin, end = region["ts"], region["ts"] + region["dur"]
    calls = Counter(
        VERSION.sub("", event["name"])
        for event in known
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and begin <= event["ts"] <= end
    )
    work = [event for event in known if event.get("cat") in DEVICE_WORK]
    waits = {name: number for name, number in calls.items() if waits_for_device(name)}
    to_host = sum("DtoH" in event["name"] for event in work)
    kernels = sum(event["cat"] == "kernel" for event in work)
    return {
        "steps": steps,
        "waits_per_step": sum(waits.values()) / steps,
        "waits": waits,
        "copies_to_host_per_step": to_host / steps,
        "kernels_per_step": kernels / steps,
        "graph_launches_per_step": calls["cudaGraphLaunch"] / steps,
        "calls_per_step": {name: number / steps for name, number in calls.most_common()},
        "busy_share": busy_share(work),
        "ms_per_step_in_the_trace": (end - begin) / 1e3 / steps,
    }


def waits_for_device(call: str) -> bool:
    """Whether a runtime call returns only once the device has done what it was given."""
    return any(word in call for word in WAITS) and not call.endswith("Async")


def busy_share(work: Sequence[Event]) -> float | None:
    """Part of the time from the first to the last work in which any is going on."""
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in work)
    if not spans:
        return None
    busy, reached = 0.0, spans[0][0]
    for begin, end in spans:
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return busy / (reached - spans[0][0])


# --- the two proofs ---------------------------------------------------------------------------


def traced(subject: Subject, device: torch.device, file: Path) -> dict[str, Any]:
    tracer = Tracer(file, device)
    between = _run(subject, device, tracer)
    return facts_of(tracer.events(), between.steps)


def banned(subject: Subject, device: torch.device) -> str | None:
    """What torch says of the first step that waits; None where none does."""
    ban = Ban(device)
    try:
        _run(subject, device, ban)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return str(error).splitlines()[0]
    finally:
        ban.end()
    return None


def _run(subject: Subject, device: torch.device, watch: Watch) -> Between:
    run = subject.but(epochs=1).run(0, device)
    between = Between(watch)
    train(run, between)
    check_recorded(run)
    return between


def objection_to(facts: Mapping[str, Any]) -> str | None:
    """What speaks against "no step waits"; None where nothing does."""
    if not facts["kernels_per_step"]:
        return "the trace holds no kernel, so it proves nothing"
    if facts["waits_per_step"] >= LIMIT:
        return f"{facts['waits_per_step']:.2f} waits a step: {facts['waits']}"
    if facts["copies_to_host_per_step"] >= LIMIT:
        return f"{facts['copies_to_host_per_step']:.2f} copies to the host a step"
    return facts["raised_under_the_ban"]


def show(facts: Mapping[str, Any]) -> None:
    table = Table("what", "measured")
    for name, value in facts.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key}: {number:.3g}" for key, number in value.items()) or "none"
        table.add_row(
            name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)
        )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a graphed step wait for the GPU?")
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_profile.json")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "gpu_profile.json"
    if not torch.cuda.is_available():
        write_json(file, {"waits_per_step": None, "why": "no CUDA device"})
        print("gpu_profile: no CUDA device")
        return
    device, subject = torch.device("cuda"), full()
    facts = traced(subject, device, asked.out / "gpu_trace.json.gz")
    facts["raised_under_the_ban"] = banned(subject, device)
    write_json(file, facts)
    show(facts)
    if (objection := objection_to(facts)) is not None:
        raise SystemExit(f"gpu_profile: {objection}")


if __name__ == "__main__":
    main()
