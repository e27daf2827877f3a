"""The seed list of a data set, derived from the claims that are registered on it.

Training is deterministic, so somebody who chooses seeds manually could have tried others before.
Seeds derived from claims are fixed when the claims are committed, and anybody can verify them.

Derivation
1. Each claim whose contrast runs on the data set is hashed: SHA-256 of its content
   (`Claim.sha256`), without the seeds of a survival claim, since these are derived from it.
2. The key is the SHA-256 of the name of the data set and of these hashes in ascending order, one
   per line, so that the order in claims.yaml does not matter.
3. Seed number i is the SHA-256 of "KEY:i" as an integer, modulo 10^6, for i = 0, 1, 2, ...; values
   that occurred before are skipped. A longer list begins with the shorter one.

If a claim is registered later, the list of the data set changes, for arms added with this claim;
existing arms keep their seeds in params.yaml. The limits of this method are in docs/evidence.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path

from study.evidence.claims import Claim, claim_files, load_claims
from study.reading import quoted
from study.settings import Row, UserError, nearest

SEEDS = 10**6
MOST_SEEDS = 1000


def registered_seeds(claims: Iterable[Claim], data: str, n: int) -> tuple[int, ...]:
    """The first `n` seeds of a data set, given the claims that are registered on it.

    `data`: name as used by arms, such as `data/quick`. Raises UserError if there are no claims or
    `n` is not between 1 and 1000.
    """
    hashes = sorted(_content(claim) for claim in claims)
    if not hashes:
        raise UserError(
            f"no claim of claims.yaml is registered on {data}: its seeds follow from the claims; "
            "add the claims first"
        )
    if not 1 <= n <= MOST_SEEDS:
        raise UserError(f"{n} seeds were asked for; accepted: 1 to {MOST_SEEDS}")
    key = hashlib.sha256("\n".join([data, *hashes]).encode()).hexdigest()
    return tuple(islice(_drawn(key), n))


def claims_on(root: Path, rows: Mapping[str, Row], data: str) -> list[Claim]:
    """The claims about arms on the data set `data` of the pipeline folder `root`, in its own
    claims.yaml and in that of the checkout. `rows`: the arms of the pipeline.

    Raises UserError for a claims.yaml that cannot be read and for a data set that no arm uses.
    """
    known = {row.data for row in rows.values()}
    if data not in known:
        raise UserError(f"no arm runs on {quoted(data)}{nearest(data, known)}")
    return [
        claim
        for file, prefix in claim_files(root)
        for claim in load_claims(file).claims
        if {f"{prefix}{name}" for name, row in rows.items() if row.data == data}
        & {claim.arms.treatment, claim.arms.control}
    ]


def _content(claim: Claim) -> str:
    if claim.survival is None:
        return claim.sha256
    plan = claim.survival.model_copy(update={"seeds": ()})
    return claim.model_copy(update={"survival": plan}).sha256


def _drawn(key: str) -> Iterator[int]:
    seen: set[int] = set()
    for i in count():
        seed = int(hashlib.sha256(f"{key}:{i}".encode()).hexdigest(), 16) % SEEDS
        if seed not in seen:
            seen.add(seed)
            yield seed
