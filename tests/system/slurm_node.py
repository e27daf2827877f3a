"""A real Slurm of one node, started by the test with settings, keys and ports of its own.

munged, slurmctld and slurmd run in the foreground as children of the test, with `SLURM_CONF` in a
temporary folder; nothing of the machine's own configuration is read or left changed. They run as
the user who runs the test.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

# Jobs in `high` take cores away from jobs in `spare`: a real preemption, with requeue.
CONF = """
ClusterName=armature
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
ReturnToService=2
SlurmdTimeout=15
KillWait=5
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
AccountingStorageType=accounting_storage/none
SlurmctldParameters=cloud_dns
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000
PartitionName=main Nodes={host} Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=spare Nodes={host} PriorityTier=1 GraceTime=30
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF
"""
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
DEADLINE_S = 30.0


def missing_programs() -> list[str]:
    return [name for name in NEEDED if shutil.which(name, path=_path()) is None]


def _path() -> str:
    """The daemons lie in sbin, which a user's PATH may leave out."""
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(true: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Return when `true()` holds; AssertionError names what did not happen."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


class SlurmNode:
    """Started by `with`; `environment` is what a user of this cluster has set."""

    def __init__(self, cpus: int) -> None:
        # Short: the path of a socket is limited to about a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm"))
        self.cpus = cpus
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "PATH": _path(),
            "SLURM_CONF": str(self.folder / "slurm.conf"),
        }

    def __enter__(self) -> SlurmNode:
        try:
            self._configure()
            self._start_munge()
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            wait_for(lambda: "idle" in self.say("sinfo", "-h", "-o", "%T"), "the node is idle")
        except AssertionError as error:
            error.add_note(self.logs())
            self._stop()
            raise
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def say(self, *command: str) -> str:
        """Output and errors of a Slurm command, as text."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def logs(self) -> str:
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-4000:]}" for file in files)

    def _configure(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        text = CONF.format(
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            folder=self.folder,
            controller_port=free_port(),
            node_port=free_port(),
            cpus=self.cpus,
        )
        (self.folder / "slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)

    def _start_munge(self) -> None:
        own = [
            f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")
        ]
        # Under a temporary folder munged doubts its own privacy; --force turns that to a warning.
        self._start(
            "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *own
        )
        wait_for((self.folder / "munge.socket").exists, "munged opens its socket")

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out.log").open("wb") as out:
            self.daemons.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _stop(self) -> None:
        if len(self.daemons) > 1:
            self.say("scancel", "--user", getpass.getuser())
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.say("squeue", "-h").strip(), "the queue is empty", 20)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def slurm_node(cpus: int = 2) -> Iterator[SlurmNode]:
    with SlurmNode(cpus) as node:
        yield node
