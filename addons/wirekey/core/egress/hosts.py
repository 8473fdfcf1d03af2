"""The host names of Bedrock, built from botocore's table of AWS partitions.

Bedrock consists of three services, each with up to four names in a region: the default one, FIPS, dual-stack (IPv6),
and both. A host belongs to Bedrock only if it is exactly one of these names.
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
    from collections.abc import Mapping

DEFAULT_REGION = "us-east-1"
RUNTIME = "bedrock-runtime"
SERVICES = (RUNTIME, "bedrock", "bedrock-agent-runtime")
"""Inference; the list of models; agents and knowledge bases. All three are signed for as `bedrock`."""

REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,10}){1,2}-[1-9][0-9]?")


class BedrockHost(NamedTuple):
    """The service and region of a Bedrock host."""

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
    """The names of regions that are newer than botocore's table."""


@cache
def partitions() -> tuple[Partition, ...]:
    """Return AWS's partitions as the installed botocore has them."""
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


@lru_cache(maxsize=256)
def partition_of(region: str) -> Partition | None:
    """Return the partition of a region, or None if the name is not a region's."""
    if not REGION.fullmatch(region):
        return None
    known = (partition for partition in partitions() if region in partition.regions)
    return next(known, None) or next((one for one in partitions() if one.pattern.fullmatch(region)), None)


@lru_cache(maxsize=256)
def bedrock_hosts(region: str) -> Mapping[str, BedrockHost]:
    """Return host → service and region for all Bedrock hosts in `region`. The runtime's default name comes first.

    Raises ValueError if the name is not a region's.
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


def all_regions() -> tuple[str, ...]:
    """Return all regions of AWS's usual partition that botocore knows, the default one first."""
    usual = next(partition for partition in partitions() if partition.name == "aws")
    return (DEFAULT_REGION, *sorted(usual.regions - {DEFAULT_REGION}))


def bedrock_host(region: str) -> str:
    """Return the default host of Bedrock's runtime in `region`, which must be valid."""
    return next(iter(bedrock_hosts(region)))


@lru_cache(maxsize=256)
def region_of(host: str) -> BedrockHost | None:
    """Return service and region of a Bedrock host in any region, or None for every other name."""
    region = host.split(".", 2)[1] if host.count(".") > 1 else ""
    return bedrock_hosts(region).get(host) if partition_of(region) else None
