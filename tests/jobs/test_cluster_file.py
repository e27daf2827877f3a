"""launch.yaml: what is asked for, and mistakes named."""

from pathlib import Path

import pytest

from study.jobs.arrays import parameters, refusal
from study.jobs.cluster_file import Asked, Slurm, load_cluster
from study.settings import UserError

ARMS = ("control", "agc")


def written(folder: Path, text: str) -> Slurm:
    (folder / "launch.yaml").write_text(text)
    return load_cluster(folder, dict.fromkeys(ARMS))


def test_without_a_file_every_arm_asks_for_one_core_of_the_default_partition(tmp_path):
    slurm = load_cluster(tmp_path, dict.fromkeys(ARMS))
    assert slurm.asked("control") == Asked()
    assert (Asked().cpus, Asked().gpus, Asked().partition) == (1, 0, None)


def test_an_arm_changes_only_what_it_names(tmp_path):
    slurm = written(
        tmp_path,
        "slurm:\n"
        "  resources: {partition: gpu, minutes: 30, sbatch: {account: lab, qos: short}}\n"
        "  arms:\n    agc: {minutes: 90, sbatch: {qos: long}}\n",
    )
    assert slurm.asked("control").minutes == 30
    agc = slurm.asked("agc")
    assert (agc.partition, agc.minutes) == ("gpu", 90)
    assert agc.sbatch == {"account": "lab", "qos": "long"}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("slrum: {}", "unknown key slrum; did you mean 'slurm'?"),
        ("slurm: {at_onec: 3}", "unknown key slurm.at_onec; did you mean 'at_once'?"),
        ("slurm: {resources: {minuts: 3}}", "slurm.resources.minuts; did you mean 'minutes'?"),
        ("slurm: {arms: {agc: {gpu: 1}}}", "slurm.arms.agc.gpu; did you mean 'gpus'?"),
        ("slurm: {arms: {acg: {gpus: 1}}}", "'acg', which is not an arm; did you mean 'agc'?"),
        ("slurm: {at_once: 0}", "slurm.at_once: Input should be greater"),
        ("slurm: {at_once: '4'}", "slurm.at_once: Input should be a valid integer; got '4'"),
        ("slurm: {resources: {sbatch: {--account: lab}}}", "write account, not --account"),
        ("slurm: {resources: {sbatch: {time: 3}}}", "time is not accepted here: use minutes"),
        ("slurm: {resources: {sbatch: {array: 0-3}}}", "it is set for the array itself"),
        ('slurm: {resources: {sbatch: {comment: "a\\nb"}}}', "slurm.resources.sbatch.comment"),
        ('slurm: {resources: {partition: "a\\n#SBATCH"}}', "slurm.resources.partition"),
        ("- 1", "the file: Input should be a valid dictionary"),
        ("slurm: [", "valid YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, output):
    with pytest.raises(UserError) as error:
        written(tmp_path, text)
    assert output in str(error.value)


def test_every_field_reaches_the_batch_file(tmp_path):
    """submitit writes it: the options that sbatch reads are those that were asked for."""
    from submitit.slurm.slurm import _make_sbatch_string

    asked = Asked(
        partition="gpu", minutes=45, cpus=3, gpus=2, memory_gb=1.5,
        sbatch={"account": "my lab", "nice": 5, "contiguous": True, "reboot": False},
    )  # fmt: skip
    slurm = Slurm(at_once=4, stop_s=120, setup=("module load cuda",))
    kinds = {**parameters("armature-1", asked, slurm), "map_count": 6}
    text = _make_sbatch_string(command="run", folder=tmp_path, **kinds)
    options = {line[8:] for line in text.splitlines() if line.startswith("#SBATCH ")}
    assert options >= {
        "--partition=gpu", "--time=45", "--cpus-per-task=3", "--gpus-per-node=2", "--mem=1536M",
        "--array=0-5%4", "--signal=USR2@120", "--requeue", "--account='my lab'", "--nice=5",
        "--contiguous", "--job-name=armature-1",
    }  # fmt: skip
    assert "reboot" not in text and "wckey" not in text
    assert text.index("module load cuda") < text.index("srun")


def test_a_refusal_is_sbatchs_own_reason():
    output = (
        "sbatch: error: invalid partition specified: nope\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    assert "invalid partition specified: nope; Invalid partition name specified;" in refusal(output)
    assert "Unable to contact" in refusal("Unable to contact the controller\n")
