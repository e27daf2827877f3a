"""`study remote`: add a remote and its key. The address is shared, the key is not.

Every remote gets `verify: true`, so that plain `dvc pull` refuses corrupted objects too.
"""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path

from study.artifacts.store import NAME as EMBEDDED
from study.artifacts.store import edited_config, read_config, step_back
from study.reading import real_path
from study.runs import environment
from study.settings import UserError

SCHEMES = ("s3", "ssh", "webdav", "webdavs", "")  # "" is a folder
REMOTE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
S3_TIMES = {"connect_timeout": "10", "read_timeout": "60"}  # seconds; DVC accepts only integers


def add_remote(root: Path, name: str, url: str, endpoint: str | None, private: bool) -> list[str]:
    """Add or change a remote and make it the default; returns lines about the next steps. Raises
    UserError for an invalid name or address, and for an address with a password.
    """
    top = environment.checkout(root)
    kind = _check(name, url, endpoint)
    section = {"url": url if kind else str(real_path(Path(url).expanduser())), "verify": True}
    if kind == "s3":
        section |= S3_TIMES | ({"endpointurl": endpoint} if endpoint else {})
    with edited_config(top, "local" if private else "repo") as edited:
        edited["remote"][name] = {**edited["remote"].get(name, {}), **section}
        edited["core"]["remote"] = name
    step_back(top)
    lines = [f"remote {name!r}: {section['url']}, the default, verified"]
    if kind:
        lines.append(f"its key, for this clone only: study remote key {name}{_hint(kind)}")
    if not private:
        lines.append("commit .dvc/config, so that every clone has it")
    return lines


def store_key(
    root: Path, name: str, user: str | None, secret: str | None, file: Path | None
) -> list[str]:
    """Write the credentials of a remote to .dvc/config.local, readable by its owner only.

    Raises UserError for an unknown remote, and if credentials that its kind needs are missing.
    """
    top = environment.checkout(root)
    config = read_config(top)
    if name not in config["remote"]:
        raise UserError(f"no remote {name!r}; configured: {', '.join(config['remote']) or 'none'}")
    kind = _kind(str(config["remote"][name]["url"]))
    section = _credentials(kind, user, secret, file)
    with edited_config(top, "local") as edited:
        edited["remote"][name] = {**edited["remote"].get(name, {}), **section}
    return [f"stored {' and '.join(sorted(section))} of {name!r} in .dvc/config.local"]


def remote_lines(root: Path) -> list[str]:
    config = read_config(environment.checkout(root))
    default = config["core"].get("remote")
    return [
        f"{'* ' if name == default else '  '}{name}  {without_password(str(remote['url']))}"
        f"{'' if remote.get('verify') else '  (not verified: dvc remote modify NAME verify true)'}"
        for name, remote in config["remote"].items()
    ] or ["no remote is configured: `make setup` or `study remote add NAME URL`"]


def without_password(url: str) -> str:
    return re.sub(r"(://[^/@:]+):[^/@]*@", r"\1:***@", url)


def committed_default(top: Path) -> str | None:
    """The default remote in the committed configuration, which every clone has."""
    return read_config(top).read("repo")["core"].get("remote")


def committed_url(top: Path, name: str) -> str | None:
    """The address of a remote in the committed .dvc/config; None if it is configured only here."""
    found = read_config(top).read("repo")["remote"].get(name)
    return str(found["url"]) if found else None


def default_remote(top: Path) -> str | None:
    return read_config(top)["core"].get("remote")


def _check(name: str, url: str, endpoint: str | None) -> str:
    if not REMOTE_NAME.fullmatch(name) or name == EMBEDDED:
        raise UserError(
            f"{name!r} cannot name a remote; accepted: up to 32 lower-case letters, digits, - and "
            f"_, starting with a letter; {EMBEDDED!r} is taken"
        )
    kind = _kind(url)
    parts = urllib.parse.urlsplit(url)
    if kind not in SCHEMES or (kind and not parts.hostname):
        raise UserError(
            f"{url!r} is not an address; accepted: s3://BUCKET/PATH, ssh://USER@HOST:PORT/PATH, "
            "webdavs://HOST/PATH, or a folder"
        )
    if parts.password:
        raise UserError(
            "the address contains a password and would be committed; leave it out and store it "
            f"with `study remote key {name}`"
        )
    if endpoint and (kind != "s3" or not re.match(r"https?://[^/\s]+", endpoint)):
        raise UserError(f"--endpoint takes http(s)://HOST:PORT of an S3 server; got {endpoint!r}")
    return kind


def _kind(url: str) -> str:
    return url.partition("://")[0] if "://" in url else ""


def _hint(kind: str) -> str:
    return " --file ~/.ssh/id_ed25519 (or an ssh agent)" if kind == "ssh" else " --id NAME"


def _credentials(
    kind: str, user: str | None, secret: str | None, file: Path | None
) -> dict[str, str]:
    if kind == "ssh":
        if file is None or not file.expanduser().is_file():
            raise UserError("an ssh remote takes --file with your private key, or an ssh agent")
        return {"keyfile": str(real_path(file.expanduser())), **({"user": user} if user else {})}
    if not kind:
        raise UserError("a folder needs no key")
    if not user or not secret:
        raise UserError(
            "needed: --id with the key id or user name, and the secret when asked for it"
        )
    if kind == "s3":
        return {"access_key_id": user, "secret_access_key": secret}
    return {"user": user, "password": secret}
