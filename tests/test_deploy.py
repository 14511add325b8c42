"""The files for containers, systemd and Kubernetes name settings, ports and paths that exist."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from nemotron_asr.cli.serve import serve
from nemotron_asr.server.service import Service
from nemotron_asr.server.serving import application
from nemotron_asr.server.settings import Settings

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted(DEPLOY.iterdir())
PORTS = {Settings().port, Settings().grpc_port, Settings().wyoming_port}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_settings_exist(file: Path) -> None:
    known = {setting.name for setting in fields(Settings)}
    for name in re.findall(r"NEMOTRON_ASR_([A-Z_]+)", file.read_text(encoding="utf-8")):
        assert name.lower() in known, name


def test_flags_exist() -> None:
    unit = (DEPLOY / "nemotron-asr.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=\S+ serve\b(.*)$", unit, re.MULTILINE)
    flags = {option for parameter in serve.params for option in parameter.opts}
    assert set(re.findall(r"--[\w-]+", start)) <= flags


def test_the_unit_hands_over_what_only_root_may_read() -> None:
    lines = re.sub(
        r"^#(?=[A-Z]\w+=)", "", (DEPLOY / "nemotron-asr.service").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    credentials = set(re.findall(r"^LoadCredential=(\w+):/etc/", lines, re.MULTILINE))
    assert credentials == set(re.findall(r"NEMOTRON_ASR_\w+=%d/(\w+)", lines)) == {"keys"}


def test_the_unit_keeps_kernels() -> None:
    unit = (DEPLOY / "nemotron-asr.service").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^CacheDirectory=(.*)$", unit, re.MULTILINE)
    caches = dict(re.findall(r"(\w+)_CACHE_DIR=(\S+)", unit))
    assert caches.keys() == {"NUMBA", "TRITON"}
    assert all(f"{path}/".startswith(f"%C/{folder}/") for path in caches.values())


@pytest.mark.parametrize("file", [file for file in FILES if "Dockerfile" in file.name], ids=lambda file: file.name)
def test_containers(file: Path) -> None:
    content = file.read_text(encoding="utf-8")
    (exposed,) = re.findall(r"^EXPOSE (.*)$", content, re.MULTILINE)
    assert {int(port) for port in exposed.split()} == PORTS
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", content, re.MULTILINE):
        assert all((DEPLOY.parent / name).exists() for name in copied.split())
    kept = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8")
    assert all(f"!{name}\n" in kept for name in re.findall(r"^COPY (\w+) \1$", content, re.MULTILINE))
    (volume,) = re.findall(r"^VOLUME (.*)$", content, re.MULTILINE)
    assert f"install -d -o speech -g speech {volume}\n" in content  # where nobody makes it, it is root's
    caches = re.findall(r"(HF_HOME|\w+_CACHE_DIR)=(\S+)", content)
    assert len(caches) == 2
    assert all(folder.startswith(volume) for _, folder in caches)


def test_compose() -> None:
    (service,) = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    assert {int(port.rsplit(":", 1)[1]) for port in service["ports"]} == PORTS
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()


async def test_kubernetes() -> None:
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {port["containerPort"] for port in container["ports"]} == PORTS
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}
    paths = {str(getattr(route, "path", "")) for route in application(Service(Settings())).routes}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False  # they would set NEMOTRON_ASR_PORT
    drain = next(int(each["value"]) for each in container["env"] if each["name"].endswith("DRAIN_SECONDS"))
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain
