"""Checking proofs and chains of keyed grants, against bare Ed25519: `python -m bench grants`.

Bare is one verification by PyNaCl of what a proof signs: no parsing, no digest, no comparison. A check is all
that a request needs before the database is asked: its proof is read, verified and compared with a request of
a kilobyte; with a chain of three blocks each of these is read, verified, linked and narrowed as well. That is
one verification, or four. The holders' headers are remembered, as of whoever asks often. The ratio is what
these cost in processor time; rounds are short and many, and the figure is the median over them.
"""

from __future__ import annotations

import sys
from statistics import median

from nacl.signing import VerifyKey

from bench.target import SMALL, Target, report
from bench.ve1 import seconds
from vault.client.proofs import delegate, make_proof
from vault.clock import SECOND, SystemClock
from vault.crypto.base64url import decode, digest
from vault.crypto.signing import Signer, keypair, thumbprint
from vault.crypto.statements import Narrowing
from vault.policy.block import check_holder, parse_chain
from vault.policy.narrowing import Bounds, narrow_all
from vault.policy.proof import check_proof, parse_proof

CALLS = 10
GRANT = "gr_01KARF3GPKFS7RMPVCFP79Z85H"
URL = "https://vault.example.org/v1/eu/detokenize"
BODY = b"{" + b" " * 1022 + b"}"
SUBJECTS = tuple(f"cust-{number:04}" for number in range(10))
FIELDS = ("customer.email", "customer.phone", "customer.ssn")
NARROWINGS = (
    Narrowing(fields=FIELDS, subjects=SUBJECTS, uses=10),
    Narrowing(fields=FIELDS[:2], uses=5),
    Narrowing(subjects=SUBJECTS[:1], mask="last4"),
)
TARGETS = {
    "proof": Target("grant_proof_vs_bare", 2.0, at_most=True),
    "proof and three blocks": Target("grant_chain_vs_bare", 6.0, at_most=True),
}


def main() -> bool:
    rounds = 51 if SMALL else 501
    now = SystemClock().now()
    signers = [Signer(keypair()[0]) for _ in range(4)]
    jkts = [thumbprint(signer.public) for signer in signers]
    bounds = Bounds(
        operations=frozenset({"reveal", "mask"}),
        fields=frozenset(FIELDS),
        subjects=frozenset(SUBJECTS),
        mask=None,
        destinations=None,
        uses=20,
        until=now + 3600 * SECOND,
    )
    chain = None
    for number, narrowing in enumerate(NARROWINGS):
        chain = delegate(
            signers[number], grant=GRANT, chain=chain, to=jkts[number + 1], narrowing=narrowing, now=now
        )
    own = make_proof(signers[0], method="POST", url=URL, grant=GRANT, body=BODY, chain=None, now=now)
    delegated = make_proof(signers[3], method="POST", url=URL, grant=GRANT, body=BODY, chain=chain, now=now)
    signing_input, _, signed = own.rpartition(".")
    message, signature, key = signing_input.encode(), decode(signed), signers[0].public

    def bare() -> None:
        VerifyKey(key).verify(message, signature)

    def check(text: str, sent: str | None) -> Bounds:
        proof = parse_proof(text)
        check_proof(
            proof,
            method="POST",
            url=URL,
            grant=GRANT,
            body_digest=digest(BODY),
            chain_digest=None if sent is None else digest(sent.encode()),
            now=now,
        )
        blocks = () if sent is None else parse_chain(sent, GRANT, jkts[0])
        check_holder(blocks, jkts[0], proof.jkt)
        return narrow_all(bounds, blocks, depth=3, ttl_max_s=300, now=now)

    if check(own, None) != bounds or check(delegated, chain).uses != 5:
        raise SystemExit("what was checked is not what was made")

    def turn() -> dict[str, tuple[float, float]]:
        """(ours, bare) of each, a request."""
        floor = seconds(bare, CALLS)
        return {
            "proof": (seconds(lambda: check(own, None), CALLS), floor),
            "proof and three blocks": (seconds(lambda: check(delegated, chain), CALLS), floor),
        }

    turns = [turn() for _ in range(rounds)]
    results = []
    print("grants, microseconds a request, medians of rounds that take turns")
    for name, target in TARGETS.items():
        ours, theirs = (median(one[name][side] for one in turns) * 1e6 for side in (0, 1))
        ratio = median(one[name][0] / one[name][1] for one in turns)
        print(f"  {name:22} {ours:7.1f}   bare Ed25519 {theirs:6.1f}   ratio {ratio:5.2f}")
        results.append((target, ratio))
    return report(results)


if __name__ == "__main__":
    sys.exit(not main())
