"""The manifests for Kubernetes fit together, and their configurations are valid."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from wirekey.config import load

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
FOLDERS = [FOLDER, FOLDER / "sidecar"]
READER = YAML(typ="safe")


def documents(folder: Path) -> list[dict]:
    files = READER.load((folder / "kustomization.yaml").read_text())["resources"]
    return [document for file in files for document in READER.load_all((folder / file).read_text())]


def pods(folder: Path) -> list[dict]:
    return [
        document["spec"]["template"]
        for document in documents(folder)
        if document["kind"] in ("Deployment", "StatefulSet")
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_configuration_is_valid(folder, tmp_path):
    shutil.copy(folder / "wirekey.yaml", tmp_path)
    environ = {"WIREKEY_REDIS_URL": "rediss://user:password@redis:6379/0", "OPENAI_API_KEY": "sk-none"}
    assert load(tmp_path / "wirekey.yaml", environ).has_file


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_a_pod_mounts_exists_and_its_time_to_end_covers_the_drain(folder):
    settings = READER.load((folder / "wirekey.yaml").read_text())["timeouts"]
    kustomization = READER.load((folder / "kustomization.yaml").read_text())
    configurations = {each["name"] for each in kustomization["configMapGenerator"]}
    for pod in pods(folder):
        spec = pod["spec"]
        assert spec["terminationGracePeriodSeconds"] > settings.get("drain_delay", 0) + settings["drain"]
        claims = [
            claim["metadata"]["name"]
            for document in documents(folder)
            for claim in document["spec"].get("volumeClaimTemplates", [])
        ]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume} <= configurations
        for container in (*spec["containers"], *spec["initContainers"]):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= {*volumes, *claims}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert "limits" in container["resources"]
        assert spec["securityContext"]["runAsNonRoot"]


def test_services_budgets_and_policies_select_the_replicas_and_ports_that_exist():
    (pod,) = pods(FOLDER)
    labels = pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for document in documents(FOLDER):
        if document["kind"] == "Service":
            assert document["spec"]["selector"] == labels
            assert {port["targetPort"]: port["port"] for port in document["spec"]["ports"]}.items() <= ports.items()
        if document["kind"] == "PodDisruptionBudget":
            assert document["spec"]["selector"]["matchLabels"] == labels
        if document["kind"] == "HorizontalPodAutoscaler":
            assert document["spec"]["scaleTargetRef"]["name"] == "wirekey"
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_agents_reach_wirekey_and_the_name_service_only():
    policies = {each["metadata"]["name"]: each["spec"] for each in documents(FOLDER) if each["kind"] == "NetworkPolicy"}
    rules = policies["agents-reach-only-wirekey"]["egress"]
    assert [{port["port"] for port in rule["ports"]} for rule in rules] == [{8080, 8000}, {53}]
    assert policies["agents-reach-only-wirekey"]["policyTypes"] == ["Egress"]
    agents = policies["agents-reach-only-wirekey"]["podSelector"]["matchLabels"]
    (ingress,) = policies["only-agents-reach-wirekey"]["ingress"]
    assert ingress["from"] == [{"podSelector": {"matchLabels": agents}}]
