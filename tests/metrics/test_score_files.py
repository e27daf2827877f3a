import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.metrics import METRIC_SETS, score
from study.metrics.files import read_object, score_files
from study.settings import UserError


@pytest.fixture
def stored(tmp_path, truth):
    path = tmp_path / "truth.npz"
    np.savez(path, object=truth.astype(np.complex64), note=np.arange(3))
    return path


def test_object_survives_the_file(stored, truth):
    assert (read_object(stored) == truth.astype(np.complex64)).all()


@pytest.mark.parametrize("metrics", METRIC_SETS)
def test_files_score_like_their_arrays(stored, truth, tmp_path, metrics):
    noisy = (truth * 1.1 + 0.3 * truth[::-1]).astype(np.complex64)
    other = tmp_path / "prediction.npz"
    np.savez_compressed(other, object=noisy)
    expected = score(noisy, truth.astype(np.complex64), metrics)
    assert score_files(other, stored, metrics) == expected


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"image": np.ones((12, 12), complex)}, "no array called"),
        ({"object": np.ones((12, 12))}, "is float64; a complex object"),
        ({"object": np.ones((1, 12, 12), complex)}, r"has shape \(1, 12, 12\)"),
        ({"object": np.full((12, 12), np.nan + 0j)}, "has 144 non-finite pixels"),
        ({"object": np.array([[1j, None]])}, "pickled"),
    ],
)
def test_wrong_content_is_a_sentence_with_the_file(tmp_path, content, sentence):
    path = tmp_path / "wrong.npz"
    np.savez(path, **content)
    with pytest.raises(UserError, match=sentence) as error:
        read_object(path)
    assert str(path) in str(error.value)


def test_missing_file_folder_and_bare_array(tmp_path, truth):
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError) as error:
            read_object(path)
        assert str(path) in str(error.value)
    bare = tmp_path / "bare.npy"
    np.save(bare, truth)
    with pytest.raises(UserError, match=r"bare\.npy"):
        read_object(bare)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(part=st.floats(0, 0.999))
def test_cut_file_is_a_sentence(stored, tmp_path, part):
    content = stored.read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UserError, match=r"cut\.npz"):
        read_object(cut)


def test_damaged_header_is_a_sentence(stored, tmp_path):
    content = stored.read_bytes()
    place = content.index(b"'shape'")
    for wrong in (b"'shap((", b"\x00" * 7, b"'shape\n"):
        broken = tmp_path / "broken.npz"
        broken.write_bytes(content[:place] + wrong + content[place + 7 :])
        with pytest.raises(UserError, match=r"broken\.npz"):
            read_object(broken)


def test_different_windows_name_both_files(stored, tmp_path, truth):
    small = tmp_path / "small.npz"
    np.savez(small, object=truth[:50])
    with pytest.raises(
        UserError, match=r"small\.npz against .*truth\.npz: the prediction has shape"
    ):
        score_files(small, stored, "standard")
