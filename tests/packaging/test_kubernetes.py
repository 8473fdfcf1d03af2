"""The manifests for Kubernetes fit together, and their configurations are valid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.packaging.schemas import checked_by, kubectl
from wirekey.config import load
from wirekey.core.ca import authority

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
FOLDER, SIDECAR, MONITORING = (KUBERNETES / name for name in ("base", "sidecar", "monitoring"))
FOLDERS = [FOLDER, SIDECAR]
VERSION = "1.33"
"""Of Kubernetes, whose schemas the manifests are compared with."""
READER = YAML(typ="safe")


def documents(folder: Path) -> list[dict]:
    files = READER.load((folder / "kustomization.yaml").read_text())["resources"]
    own = [folder / file for file in files if file != "../base"]
    return [document for file in own for document in READER.load_all(file.read_text())]


def pods(folder: Path) -> list[dict]:
    return [
        document["spec"]["template"]
        for document in documents(folder)
        if document["kind"] in ("Deployment", "StatefulSet")
    ]


def mounts(folder: Path) -> list[dict]:
    return [
        mount for pod in pods(folder) for container in pod["spec"]["containers"] for mount in container["volumeMounts"]
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_configuration_is_valid(folder, tmp_path):
    text = (folder / "wirekey.yaml").read_text()
    if "certs: {" in text:
        (mounted,) = [mount["mountPath"] for mount in mounts(folder) if mount["name"] == "ca"]
        ca = authority.ensure(tmp_path / "ca", ["api.openai.com"], roots=[])
        assert f"file:{mounted}/{ca.key_file.name}" in text
        text = text.replace(mounted, str(ca.folder))
    (tmp_path / "wirekey.yaml").write_text(text)
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
        for container in (*spec["containers"], *spec.get("initContainers", [])):
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


def test_prometheus_scrapes_each_replica_by_a_port_that_exists_and_may_reach_it():
    monitored = {document["kind"]: document for document in documents(MONITORING)}
    monitor, policy = monitored["ServiceMonitor"]["spec"], monitored["NetworkPolicy"]["spec"]
    (service,) = [
        document
        for document in documents(FOLDER)
        if document["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= document["metadata"].get("labels", {}).items()
    ]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    (endpoint,) = monitor["endpoints"]
    (rule,) = policy["ingress"]
    assert [port["port"] for port in rule["ports"]] == [ports[endpoint["port"]]]
    assert policy["podSelector"]["matchLabels"] == service["spec"]["selector"]
    assert READER.load((FOLDER / "wirekey.yaml").read_text())["console"]["metrics_from"]


def test_the_rules_are_those_of_the_documentation():
    (rules,) = [document["spec"] for document in documents(MONITORING) if document["kind"] == "PrometheusRule"]
    assert rules == READER.load((KUBERNETES.parents[1] / "docs/alerts.yaml").read_text())


CHECK = """
import json, sys, kubernetes_validate
for manifest in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(manifest, sys.argv[1], strict=True)
    except kubernetes_validate.ValidationError as error:
        print(manifest["kind"], manifest["metadata"]["name"], error.message)
"""


def mistakes(manifests: list[dict]) -> str:
    """Compare manifests with the schemas of Kubernetes."""
    return checked_by(CHECK, manifests, VERSION)


@pytest.mark.parametrize("folder", [*FOLDERS, MONITORING], ids=lambda folder: folder.name)
def test_the_manifests_follow_the_schemas_of_kubernetes(folder):
    """The kinds of the Prometheus operator have no schema here."""
    known = [each for each in documents(folder) if not each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert known
    assert mistakes(known) == ""


def test_a_manifest_with_a_mistake_is_found():
    service = next(each for each in documents(FOLDER) if each["kind"] == "Service")
    service["spec"]["port"] = service["spec"].pop("ports")
    assert "'port' was unexpected" in mistakes([service])


# Kustomize itself, which is a part of kubectl.


def built(folder: Path) -> list[dict]:
    """Return the manifests that `kubectl apply -k` would send. Raises AssertionError with what Kustomize says."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(READER.load_all(done.stdout))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in KUBERNETES.rglob("kustomization.yaml")))
def test_kustomize_builds_each_folder(name):
    found = {(each["kind"], each["metadata"]["name"]) for each in built(KUBERNETES / name)}
    assert {(each["kind"], each["metadata"]["name"]) for each in documents(KUBERNETES / name)} <= found
    assert [kind for kind, _ in found].count("ConfigMap") == 1


def test_monitoring_has_all_that_the_base_has():
    base, more = (built(folder) for folder in (FOLDER, MONITORING))
    assert [each for each in base if each not in more] == []
    assert len(more) == len(base) + len(documents(MONITORING))


def test_an_overlay_inside_its_base_is_refused(tmp_path):
    """The layout that could not be applied: Kustomize calls it a cycle."""
    shutil.copytree(FOLDER, tmp_path / "base")
    shutil.copytree(MONITORING, tmp_path / "base/monitoring")
    overlay = tmp_path / "base/monitoring/kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("../base", ".."))
    with pytest.raises(AssertionError, match="cycle detected"):
        built(overlay.parent)
