"""The supervisor: one loop that accepts requests and advances every job.

    queued -> preparing (data) -> running (study train) -> committing (dvc) -> done
                                                       any of them -> failed | cancelled

Design choices
- One thread, and one job file that is rewritten at each change. There is no other state, so after a
  kill the next supervisor continues from the files (`_recover`).
- A job is stored as running before its process starts, and the process carries the job's mark.
- A trainer that is killed is started again while it makes progress. After three kills in a row
  without a finished epoch the job has failed.
- The supervisor ends when all jobs are over. Requests are written, and the decision to end is made,
  under one lock, so no request is missed.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil

from study.jobs import dvc_commit, executors, notice, processes
from study.jobs.dvc_lock import DvcLock
from study.jobs.executors import Ended, Executor
from study.jobs.folder import JobFolder
from study.jobs.job_store import JobStore, log
from study.jobs.models import Job, Request, Supervisor
from study.runs import start_time
from study.runs.identity import RunIdentity, identity_of, study_of
from study.settings import UserError

TICK_S = 0.2
BEAT_S = 5.0
DEATHS = 3


class Loop:
    """The state of the supervisor."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.folder = JobFolder(self.root)
        self.store = JobStore(self.folder)
        self.dvc = DvcLock(self.root)
        self.executors: dict[str, Executor] = {}
        self.ending: dict[str, tuple[str, str | None]] = {}
        self.started = time.time()
        self.next_beat = 0.0
        self.stopping = processes.Stopping()

    # -- the loop

    def run(self, leave: Callable[[], None]) -> None:
        """Run until all jobs are over; `leave` releases the lock of the supervisor."""
        self._recover()
        while True:
            self.tick()
            if self.store.done:
                with (
                    self.store.logging_errors("requests cannot be listed"),
                    self.folder.request_lock(),
                ):
                    if next(self.folder.pending(), None) is None:
                        self._beat(running=False)
                        leave()
                        return
            time.sleep(TICK_S)

    def tick(self) -> None:
        """Read all requests and advance every job once."""
        self.dvc.reap()
        with self.store.logging_errors("requests cannot be read"):
            self._take_requests()
        for job in self.store.in_turn():
            if job.id in self.store.unsaved:
                self.store.keep(job)
            elif not job.over:
                now = self._advanced(job)
                self.store.keep(now)
                if now.over:
                    notice.notify(self.root, now, log)
        if time.monotonic() > self.next_beat:
            self.next_beat = time.monotonic() + BEAT_S
            self._beat(running=True)

    def _beat(self, running: bool) -> None:
        me = psutil.Process()
        word = Supervisor(
            pid=me.pid,
            pid_started=start_time(me),
            started=self.started,
            heartbeat=time.time(),
            slots=self._executor("local").slots(),
            trouble=self.store.trouble,
            running=running,
        )
        with contextlib.suppress(OSError, UserError):  # the error is in the log
            self.folder.announce(word)

    def _executor(self, name: str) -> Executor:
        if name not in self.executors:
            self.executors[name] = executors.make(name)
        return self.executors[name]

    # -- requests

    def _take_requests(self) -> None:
        for path, request in self.folder.pending():
            self.next_beat = 0.0
            with self.store.logging_errors(f"{path.name} cannot be processed"):
                refused = request if isinstance(request, str) else self._apply(request)
                if refused is None:
                    path.unlink(missing_ok=True)
                else:
                    self.folder.refuse(path, refused)

    def _apply(self, request: Request) -> str | None:
        """Execute a request; repeating it has no effect. Returns the reason if it is refused."""
        if request.kind == "start":
            if self.folder.job_file(request.id).exists():
                return None
            return self._add(request)
        job = self.store.find(request.job or "")
        if job is None:
            return f"request refused: no job {request.job!r}"
        if request.kind == "cancel":
            # A late request does not change ended jobs.
            self.store.save(job if job.over else job.but(cancel=True))
        elif job.state in ("failed", "cancelled"):
            fresh = Job.model_validate(
                {key: getattr(job, key) for key in ("id", "arm", "seeds", "executor", "created")}
            )
            self.store.save(fresh.but(attempts=job.attempts))
        return None

    def _add(self, request: Request) -> str | None:
        try:
            executors.check_executor(request.executor or "")
            seeds = set(identity_of(self.root, request.arm or "").row.seeds)
            unknown = sorted(set(request.seeds or ()) - seeds)
            if unknown:
                raise UserError(f"arm {request.arm!r} has no seed {unknown[0]}")
        except UserError as error:
            return f"request refused: {error}"
        facts = request.model_dump(include={"id", "arm", "seeds", "executor", "created"})
        self.store.save(Job.model_validate(facts))
        return None

    # -- one job

    def _advanced(self, job: Job) -> Job:
        """The job after one step. An error ends only this job."""
        advance = {
            "queued": self._queued,
            "preparing": self._preparing,
            "running": self._running,
            "committing": self._committing,
        }[job.state]
        try:
            return self._over(job, *self.ending[job.id]) if job.id in self.ending else advance(job)
        except UserError as error:
            return self._over(job, "failed", str(error))
        except OSError as error:
            log(traceback.format_exc())
            return self._over(job, "failed", f"{error.strerror or error}: {error.filename or ''}")
        except Exception as error:
            log(traceback.format_exc())
            return self._over(job, "failed", f"the supervisor failed: {error!r}")

    def _over(self, job: Job, state: str, cause: str | None) -> Job:
        """End a job, after its remaining processes have been stopped."""
        if self.dvc.of(job.id):
            self.dvc.drop()
        self.ending[job.id] = (state, cause)
        if not self.stopping.stop(self.root, job.id):
            return job.but(note="stopping its processes")
        del self.ending[job.id]
        return job.but(state=state, cause=cause, note=None, ended=time.time(), place=None, pid=None)

    def _queued(self, job: Job) -> Job:
        if job.cancel:
            return self._over(job, "cancelled", "stopped before it began")
        active = [other for other in self.store.jobs.values() if other.place is not None]
        ahead = [
            other
            for other in self.store.jobs.values()
            if other.state == "queued" and other.executor == job.executor and other.id < job.id
        ]
        others = [other for other in active if other.executor == job.executor]
        place = None if ahead else self._executor(job.executor).place(job, others)
        if place is None:
            return job
        return job.but(state="preparing", place=place, started=time.time(), note=None)

    def _preparing(self, job: Job) -> Job:
        if job.cancel:
            return self._over(job, "cancelled", "stopped before training")
        origin = identity_of(self.root, job.arm)
        ours = self.dvc.of(job.id)
        if not ours and processes.of_job(self.root, job.id):
            return job.but(note="waiting for a command of an earlier supervisor")
        missing = ours or origin.data_missing(study_of(self.root))
        if not ours and self._data_busy(job, missing):
            return job.but(note="waiting: data/ is in use or about to be rewritten")
        if not missing:
            return self._start(job, origin)
        return self.dvc.take(job, "data.dvc", ["repro", "data.dvc"], self._prepared)

    def _data_busy(self, job: Job, missing: bool) -> bool:
        """Whether a job must wait because DVC removes data/ before it writes it again. The writer
        waits for all earlier readers, and later readers wait for the writer.
        """
        others = [other for other in self.store.jobs.values() if other.id != job.id]
        if missing:
            return any(other.state == "running" for other in others)
        writing = self.dvc.step is not None and self.dvc.step.name == "data.dvc"
        earlier = (other.state == "preparing" and other.id < job.id for other in others)
        return writing or any(earlier)

    def _prepared(self, job: Job) -> Job:
        return self._start(job, identity_of(self.root, job.arm))

    def _start(self, job: Job, origin: RunIdentity) -> Job:
        if job.settings not in (None, origin.settings):
            raise UserError(
                f"params.yaml changed {job.arm} since this job started: stale, run again"
            )
        job = job.but(
            state="running", settings=origin.settings, attempts=job.attempts + 1,
            pid=None, pid_started=None, note=None,
        )  # fmt: skip
        self.store.save(job)  # stored first: after a kill, the job looks for it
        return self._executor(job.executor).start(self.root, job)

    def _running(self, job: Job) -> Job:
        executor = self._executor(job.executor)
        ended = executor.ended(self.root, job)
        if ended is None:
            if job.cancel:
                executor.stop(self.root, job)
                return job.but(note="stopping: it writes its checkpoint")
            return job.but(note=executor.note(self.root, job))
        if job.cancel:
            return self._over(job, "cancelled", "stopped; retry continues from the checkpoint")
        if ended.code == 0 or self._finished_unseen(job, ended):
            return job.but(state="committing", place=None, pid=None, note=None)
        return self._again(job, ended)

    def _finished_unseen(self, job: Job, ended: Ended) -> bool:
        """Whether a trainer that outlived its supervisor was successful; its exit code is
        unknown."""
        if ended.code is not None:
            return False
        origin = identity_of(self.root, job.arm)
        return job.settings == origin.settings and all(map(origin.collected, job.seeds))

    def _again(self, job: Job, ended: Ended) -> Job:
        """Start a killed trainer again, unless it makes no progress."""
        cause = ended.cause or dvc_commit.last_words(
            dvc_commit.last_output(self.folder.job_log(job.id)), ended.code
        )
        if not ended.died and "killed by signal" not in cause:
            return self._over(job, "failed", cause)
        origin = identity_of(self.root, job.arm)
        done = origin.epochs_done(job.seeds)
        deaths = 1 if done > job.progress else job.deaths + 1
        job = job.but(progress=max(done, job.progress), deaths=deaths)
        if deaths >= DEATHS:
            how = "" if ended.code is None or ended.code >= 0 else f" by signal {-ended.code}"
            return self._over(
                job,
                "failed",
                f"it was killed{how} {deaths} times within one epoch (out of memory?); the "
                "checkpoint is kept: retry continues from it",
            )
        log(f"{job.id} was killed and continues from its checkpoint")
        return self._start(job, origin)

    # -- DVC

    def _committing(self, job: Job) -> Job:
        if job.cancel:
            return self._over(job, "cancelled", "stopped after training, before its commit")
        steps = dvc_commit.commands(self.root, job)
        left = [name for name in steps if name not in job.committed]
        if not left:
            return self._over(job, "done", None)
        origin = identity_of(self.root, job.arm)
        if self.dvc.free and left[0].startswith("train@"):
            stale_guard(job, origin)
            missing = [seed for seed in origin.row.seeds if not origin.collected(seed)]
            if missing:
                listed = ", ".join(map(str, missing))
                return self._over(
                    job, "done", f"not committed: seeds {listed} of {job.arm} are missing"
                )
        return self.dvc.take(job, left[0], steps[left[0]], self._recorded)

    def _recorded(self, job: Job) -> Job:
        name = next(
            name for name in dvc_commit.commands(self.root, job) if name not in job.committed
        )
        if name.startswith("train@"):
            try:
                stale_guard(job, identity_of(self.root, job.arm))
            except UserError:
                dvc_commit.forget(self.root, name)  # recorded with inputs that changed meanwhile
                raise
        return job.but(committed=(*job.committed, name), note=None)

    # -- after a restart

    def _recover(self) -> None:
        """Find the processes of jobs that were running when the last supervisor ended."""
        for job in self.store.in_turn():
            if job.state == "running":
                with contextlib.suppress(UserError):
                    self.store.keep(self._executor(job.executor).recover(self.root, job))


def stale_guard(job: Job, origin: RunIdentity) -> None:
    """Raise UserError if the job's runs started from other settings, data or behaviour than the
    current ones, since DVC would record them as results of the current ones."""
    stale = [seed for seed in job.seeds if not origin.collected(seed)]
    if stale or job.settings not in (None, origin.settings):
        which = f"seeds {', '.join(map(str, stale))} of " if stale else ""
        raise UserError(
            f"{which}{job.arm} started from settings, data or code that changed meanwhile: stale, "
            "run again"
        )
