"""Every kind of refusal has its own sentence."""

import errno

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from study.artifacts.errors import explain


def client(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words"}}, "HeadObject")


def wrapped(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "writing", "says"),
    [
        (wrapped(PermissionError("words"), client("InvalidAccessKeyId")), False, "refused the key"),
        (wrapped(PermissionError("words"), client("403")), False, "refused the key"),
        (wrapped(PermissionError("words"), client("AccessDenied")), True, "is not writable"),
        (wrapped(FileNotFoundError("words"), client("NoSuchBucket")), False, "no such bucket"),
        (NoCredentialsError(), False, "refused the key"),
        (EndpointConnectionError(endpoint_url="http://x"), False, "is not reachable"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), False, "is not reachable"),
        (OSError(errno.EHOSTUNREACH, "no route"), False, "is not reachable"),
        (TimeoutError(), False, "is not reachable"),
        (OSError(errno.ENOSPC, "no space"), True, "is full"),
        (OSError(errno.ENOSPC, "no space"), False, "the disk of this checkout's DVC cache is full"),
        (OSError(errno.EDQUOT, "no quota"), False, "the disk of this checkout's DVC cache is full"),
        (OSError(errno.EROFS, "read only"), False, "this checkout's DVC cache is read-only"),
        (OSError(errno.EROFS, "read only"), True, "is not writable"),
        (PermissionError(errno.EACCES, "denied"), True, "is not writable"),
        (RuntimeError("something\n  odd"), False, "failed at s3://b/p: something odd"),
    ],
)
def test_each_cause_is_told(error, writing, says):
    sentence = explain(error, "lab", "s3://b/p", writing)
    assert sentence.startswith("remote 'lab' ") and says in sentence and "\n" not in sentence
    assert "s3://b/p" in sentence


def test_what_is_said_is_short():
    assert len(explain(RuntimeError("x" * 5000), "lab", "s3://b/p")) < 400
