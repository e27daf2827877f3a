"""The disk is checked before data sets are written, and the sizes are readable."""

import shutil

import pytest

from study.settings import UserError
from study.stages.simulate import check_disk


@pytest.mark.parametrize(
    ("free", "needed", "says"),
    [
        (1_234_000_000_000, 56_789 * 10**9, "1234 GB are free under {}, but 56789 GB are needed"),
        (3_450_000_000, 99_960_000_000, "3.45 GB are free under {}, but 100 GB are needed"),
        (1_000, 999_700_000, "0.001 MB are free under {}, but 1000 MB are needed"),
        (0, 12_300_000, "0 MB are free under {}, but 12.3 MB are needed"),
    ],
)
def test_a_full_disk_is_told_without_exponents(tmp_path, monkeypatch, free, needed, says):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(UserError) as refused:
        check_disk(tmp_path, needed)
    assert says.format(tmp_path) in str(refused.value)
    check_disk(tmp_path, free)
