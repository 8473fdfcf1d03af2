"""What a signature costs: python -m tests.benchmarks.signing [--rounds N]

CPU time of one verification and one signature of a request with a 4 KB body, hashing included, and its parts. Medians
of the rounds, in microseconds. Exits with 1 where both together take more than 400.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from functools import partial

from tests.support.signed_requests import ACCESS_KEY, ENDPOINT, NOW, SECRET, signed, without_signature
from wirekey.core.secret import Secret
from wirekey.core.signing.canonical import HeadersToSign, SigningKeyCache, SigV4Signature
from wirekey.core.signing.request import SigV4Credentials
from wirekey.core.signing.sign import RequestSigner
from wirekey.core.signing.signature_parsing import has_signature, parse_signature
from wirekey.features.aws_signatures.replay import ReplayWindow
from wirekey.features.aws_signatures.verify import Verifier

BODY = (b'{"messages":[{"role":"user","content":[{"text":"' + b"x" * 4096)[:4096]
MOST = 400.0
CALLS = 500
AGENT = SigV4Credentials(ACCESS_KEY, Secret(SECRET))
REAL = SigV4Credentials("ASIAREAL", Secret("real/secret"), Secret("t" * 800))


def digest():
    return hashlib.sha256(BODY).hexdigest()


def tasks():
    head = signed(body=BODY)
    verifier, signer, keys = Verifier({ACCESS_KEY: AGENT}.get), RequestSigner(), SigningKeyCache()
    signature = SigV4Signature(AGENT, "us-east-1", "bedrock", keys)
    fields = {name: [v.decode() for v in values] for name, values in head.fields().items() if name != ":authority"}
    canonical = partial(signature.canonical, "POST", head.path, head.query, HeadersToSign(fields), digest())
    text = canonical()

    def verify_and_sign():
        verifier.verify(head, digest(), ENDPOINT, NOW)
        signer.sign(without_signature(head), digest(), REAL, ENDPOINT, NOW)

    def replayed():
        window = ReplayWindow()
        window.admit(verified, "10.0.0.1", NOW)

    verified = verifier.verify(head, digest(), ENDPOINT, NOW)
    return {
        "one verification and one signature": verify_and_sign,
        "  verification, without hashing": partial(verifier.verify, head, digest(), ENDPOINT, NOW),
        "  signature, without hashing": lambda: signer.sign(without_signature(head), digest_once, REAL, ENDPOINT, NOW),
        "  SHA-256 of the body (done twice)": digest,
        "of which, in each: canonical request (botocore)": canonical,
        "  string to sign and HMAC, key kept": partial(signature.of, text, "20260304T050607Z"),
        "  the same, deriving the key each time": lambda: SigV4Signature(
            AGENT, "us-east-1", "bedrock", SigningKeyCache()
        ).of(text, "20260304T050607Z"),
        "of the verification: reading the signature": lambda: parse_signature(head.fields(), head.query),
        "of the signature: taking off the old one": partial(without_signature, head),
        "beside it: is it signed at all": partial(has_signature, head),
        "beside it: the replay window": replayed,
    }


digest_once = digest()


def microseconds(task) -> float:
    before = time.process_time_ns()
    for _ in range(CALLS):
        task()
    return (time.process_time_ns() - before) / CALLS / 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    measured = tasks()
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, task in measured.items():
            found[name].append(microseconds(task))
    for name, values in found.items():
        print(f"{name:50} {statistics.median(values):8.1f} µs   ({min(values):.1f} to {max(values):.1f})")
    whole = statistics.median(found["one verification and one signature"])
    print(f"at most {MOST:g} µs: {'holds' if whole <= MOST else 'does not hold'}")
    return whole > MOST


if __name__ == "__main__":
    sys.exit(main())
