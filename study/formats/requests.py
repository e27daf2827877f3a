"""What a simulated data set was asked for: kept in its manifest, read back, compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from study.formats.dataset import Manifest
from study.reading import hash_of_file
from study.settings import DataParams, ProbeFile, UserError, explain


def request_of(params: DataParams) -> dict[str, Any]:
    """What a simulation was asked for: every parameter, and the hash of a probe file's bytes.

    Raises UserError when the probe file cannot be read.
    """
    request = params.model_dump(mode="json")
    for key in ("probe", "assumed_probe"):
        probe = getattr(params, key)
        if isinstance(probe, ProbeFile):
            request[key]["sha256"] = hash_of_file(probe.path)
    return request


def params_of(manifest: Manifest) -> DataParams:
    """The parameters of a simulated set, the inverse of `request_of`.

    Raises UserError when the manifest's request is not one of this version.
    """
    request = dict(manifest.request)
    for key in ("probe", "assumed_probe"):
        if isinstance(request.get(key), Mapping):
            request[key] = {k: v for k, v in request[key].items() if k != "sha256"}
    try:
        return DataParams.model_validate(request)
    except ValidationError as error:
        raise UserError(
            f"the manifest of data set {manifest.name} does not hold the parameters of a "
            f"simulation ({explain(error, request, '', DataParams)}); simulate it again"
        ) from None


def check_request(manifest: Manifest, params: DataParams) -> None:
    """Raises UserError that names every parameter in which a data set differs from `params`."""
    have = dict(_leaves(manifest.request))
    want = dict(_leaves(request_of(params)))
    differing = [
        f"{key} is {have.get(key, 'absent')} there and {want.get(key, 'absent')} in the request"
        for key in sorted(have.keys() | want.keys())
        if have.get(key, "absent") != want.get(key, "absent")
    ]
    if differing:
        raise UserError(
            f"data set {manifest.name} was made with other parameters: {'; '.join(differing)}; "
            "simulate it again or change the request"
        )


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
