"""Turn the exceptions of four libraries into one sentence about a remote.

Every library wraps the cause differently, so the whole chain is read: first S3 error codes, then
HTTP status codes, then class names, then errors of the operating system.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

KEY = (
    "refused the key: {where} answered {message}. Store the right one with `study remote key "
    "{name}` (for ssh: the key file, see docs/remotes.md)"
)
NOT_REACHED = (
    "is not reachable: {where} gave no connection ({message}). Is the address right, the network "
    "up, the server running? `study remote list` shows the address"
)
NO_PLACE = (
    "has no such bucket or folder: {where} ({message}). Create the bucket or "
    "folder, or correct the address (`study remote list`)"
)
NOT_WRITABLE = (
    "is not writable: {where} allows only reading ({message}). Ask its owner for a key with "
    "write access"
)
FULL = "is full: {where} ({message})"
HERE_FULL = (
    "answers ({where}), but the disk of this checkout's DVC cache is full ({message}). Free some "
    "space (`study clean` shows what can be deleted), then run the command again"
)
HERE_READ_ONLY = (
    "answers ({where}), but this checkout's DVC cache is read-only ({message}). Use a writable "
    "checkout"
)
SLOW = (
    "did not answer within {message} s: {where}. Is the address right, is a firewall or VPN in the "
    "way? A slow connection gets more time with ARMATURE_REMOTE_WAIT_S=60"
)
OTHER = "failed at {where}: {message}"

CODES = {
    "InvalidAccessKeyId": KEY,
    "SignatureDoesNotMatch": KEY,
    "ExpiredToken": KEY,
    "InvalidToken": KEY,
    "NoSuchBucket": NO_PLACE,
    "401": KEY,
    "404": NO_PLACE,
    "405": NO_PLACE,
    "507": FULL,
}
CLASSES = {
    "NoCredentialsError": KEY,
    "PartialCredentialsError": KEY,
    "PermissionDenied": KEY,
    "KeyImportError": KEY,
    "EndpointConnectionError": NOT_REACHED,
    "ConnectTimeoutError": NOT_REACHED,
    "ConnectError": NOT_REACHED,
    "ConnectTimeout": NOT_REACHED,
    "ConnectionLost": NOT_REACHED,
    "ConnectionRefusedError": NOT_REACHED,
    "ConnectionResetError": NOT_REACHED,
    "gaierror": NOT_REACHED,
    "TimeoutError": NOT_REACHED,
    "FSTimeoutError": NOT_REACHED,
}
DENIED = ("AccessDenied", "Forbidden", "403")
NO_WRITING = (*DENIED, "405")  # 405: a read-only webdav server
SYSTEM = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EROFS: NOT_WRITABLE,
    errno.ECONNREFUSED: NOT_REACHED,
    errno.EHOSTUNREACH: NOT_REACHED,
    errno.ENETUNREACH: NOT_REACHED,
    errno.ETIMEDOUT: NOT_REACHED,
}

# Reading writes nothing on the remote: these come from the place that receives.
RECEIVING = {errno.ENOSPC: HERE_FULL, errno.EDQUOT: HERE_FULL, errno.EROFS: HERE_READ_ONLY}


def explain(error: BaseException, name: str, where: str, writing: bool = False) -> str:
    """ "remote 'lab' refused the key: ..." for an exception of its filesystem. `writing`: reading
    has worked before, so a denial concerns writing.
    """
    chain = list(_chain(error))
    message = _message(chain)
    template = _template(chain, writing)
    return f"remote {name!r} " + template.format(where=where, name=name, message=message)


def _template(chain: list[BaseException], writing: bool) -> str:
    system = SYSTEM if writing else SYSTEM | RECEIVING
    for item in chain:
        code = code_of(item)
        if writing and code in NO_WRITING:
            return NOT_WRITABLE
        if code in DENIED:
            return KEY
        if code in CODES:
            return CODES[code]
    for item in chain:
        for kind in type(item).__mro__:
            if kind.__name__ in CLASSES:
                return CLASSES[kind.__name__]
        if isinstance(item, OSError) and item.errno in system:
            return system[item.errno]
    if any(isinstance(item, PermissionError) for item in chain):
        return NOT_WRITABLE if writing else KEY
    return NO_PLACE if any(isinstance(i, FileNotFoundError) for i in chain) else OTHER


def code_of(error: BaseException) -> str | None:
    """The code of an S3 error, or the status of an HTTP response."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code"))
    state = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    return str(state) if state else None


def codes(error: BaseException) -> set[str]:
    """All such codes in the chain of an exception."""
    return {code for item in _chain(error) if (code := code_of(item))}


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _message(chain: list[BaseException]) -> str:
    """The message of the innermost error that has one, on one line and of limited length."""
    texts = [re.sub(r"\s+", " ", str(item)).strip(" .") for item in chain]
    # botocore names its internal call, which does not help a user.
    texts = [re.sub(r"^An error occurred \((.*?)\) when .*? operation", r"\1", t) for t in texts]
    words = next((text for text in reversed(texts) if text), type(chain[0]).__name__)
    return words if len(words) <= 200 else f"{words[:200]}..."
