"""`study pull`: artifacts from the default remote, or a sentence on how to get one."""

from pathlib import Path

from study import environment
from study.params import UserError
from study.stages.doctor import NO_REMOTE, default_remote


def pull_all(root: Path) -> str:
    """`dvc pull` of everything. Without a remote: one sentence, and nothing else happens.

    Raises UserError when DVC could not bring everything.
    """
    name = default_remote(root)
    if name is None:
        return f"no remote to pull from: {NO_REMOTE}"
    done = environment.dvc("pull", "--allow-missing", root=root, show=True)
    if done.returncode:
        raise UserError(f"remote {name!r} did not give everything; see the lines above")
    return f"pulled from {name!r}"
