"""The host names of the providers: a fixed table, and Bedrock's, made from botocore's own table of AWS's partitions.

Three services make up Bedrock here, each with up to four names in a region: the usual one, FIPS, dual-stack (IPv6),
and both. A name is told by being one of these, never by how it ends.
https://docs.aws.amazon.com/general/latest/gr/bedrock.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIXED_HOSTS = {
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "gemini",
    "api.anthropic.com": "anthropic",
}
DEFAULT_REGION = "us-east-1"
RUNTIME = "bedrock-runtime"
SERVICES = (RUNTIME, "bedrock", "bedrock-agent-runtime")
"""Inference; the models there are; agents and knowledge bases. All three are signed for as `bedrock`."""

REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,10}){1,2}-[1-9][0-9]?")


class BedrockHost(NamedTuple):
    """What a host name of Bedrock stands for."""

    service: str
    region: str


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of AWS with accounts, regions and host names of its own, such as aws, aws-cn, aws-us-gov."""

    name: str
    suffix: str
    dual_stack_suffix: str | None
    fips: bool
    regions: frozenset[str]
    pattern: re.Pattern[str]
    """What regions of it are called that came after botocore's table."""


@cache
def partitions() -> tuple[Partition, ...]:
    """Return AWS's partitions as the botocore that is installed knows them."""
    table = json.loads(resources.files("botocore").joinpath("data/partitions.json").read_bytes())
    return tuple(
        Partition(
            name=row["id"],
            suffix=row["outputs"]["dnsSuffix"],
            dual_stack_suffix=row["outputs"]["dualStackDnsSuffix"] if row["outputs"]["supportsDualStack"] else None,
            fips=row["outputs"]["supportsFIPS"],
            regions=frozenset(filter(REGION.fullmatch, row["regions"])),
            pattern=re.compile(row["regionRegex"], re.ASCII),
        )
        for row in table["partitions"]
    )


def partition_of(region: str) -> Partition | None:
    """Return the partition that a region is of, or None if the name is no region's."""
    if not REGION.fullmatch(region):
        return None
    known = (partition for partition in partitions() if region in partition.regions)
    return next(known, None) or next((one for one in partitions() if one.pattern.fullmatch(region)), None)


@lru_cache(maxsize=256)
def bedrock_hosts(region: str) -> Mapping[str, BedrockHost]:
    """Return host → service and region, of all that Bedrock is called in `region`; the runtime's usual name first.

    Raises ValueError if the name is no region's.
    """
    partition = partition_of(region)
    if partition is None:
        raise ValueError(f"{region} is no AWS region")
    suffixes = [partition.suffix, *filter(None, [partition.dual_stack_suffix])]
    marks = ["", "-fips"] if partition.fips else [""]
    return {
        f"{service}{mark}.{region}.{suffix}": BedrockHost(service, region)
        for service in SERVICES
        for suffix in suffixes
        for mark in marks
    }


def bedrock_host(region: str) -> str:
    """Return the usual name of Bedrock's runtime in `region`, which the configuration has checked."""
    return next(iter(bedrock_hosts(region)))


def region_of(host: str) -> BedrockHost | None:
    """Return service and region of a host of Bedrock in any region; None for every other name."""
    region = host.split(".", 2)[1] if host.count(".") > 1 else ""
    return bedrock_hosts(region).get(host) if partition_of(region) else None


def provider_hosts(regions: Iterable[str] = (DEFAULT_REGION,)) -> dict[str, str]:
    """Return provider host → provider name, with all names of Bedrock in each of `regions`."""
    return FIXED_HOSTS | {host: "bedrock" for region in regions for host in bedrock_hosts(region)}


def usual_hosts(regions: Iterable[str] = (DEFAULT_REGION,)) -> dict[str, str]:
    """Return those of `provider_hosts` that nearly all calls go to: what people are shown, and `doctor` asks."""
    return FIXED_HOSTS | {bedrock_host(region): "bedrock" for region in regions}
