"""What doctor and verify say of a checkout that lacks something, or keeps it elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.toy import PARAMS
from study.settings import load_study
from study.stages import doctor
from study.stages.verify import retrained

sys.path.insert(0, str(Path(__file__).parent))
import stored_checkout


def test_doctor_counts_the_cache_where_it_is(tmp_path):
    """Also from a pipeline below, and where the configuration puts it."""
    top = tmp_path / "top"
    stored_checkout.store(top, {"control": {"a.txt": "one", "b.txt": "two"}})
    (top / ".dvc/cache").rename(tmp_path / "elsewhere")
    (top / ".dvc/config.local").write_text(f"[cache]\n    dir = {tmp_path / 'elsewhere'}\n")
    (top / "studies").mkdir()
    (top / "studies/params.yaml").write_text(PARAMS)
    *_, last = doctor.checkout(top / "studies", {"commit": None})
    assert last == ("cache: 3 objects", True)


def test_a_seed_whose_run_is_not_here_is_not_trained_to_be_compared(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    output, fine = retrained(tmp_path, load_study(tmp_path / "params.yaml"), "control:1")
    assert not fine and "control seed 1: its run is missing" in output and "null" not in output
