"""The promises of docker/compose.yaml; that it works is seen only where there is a Docker engine."""

import re

import pytest
import yaml
from tests.cli_runner import ROOT

TEXT = (ROOT / "docker" / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
TRAIN, WANDB = COMPOSE["services"]["train"], COMPOSE["services"]["wandb"]


def test_training_alone_starts_no_server():
    assert set(COMPOSE["services"]) == {"train", "wandb"}
    assert "profiles" not in TRAIN
    assert "depends_on" not in TRAIN
    assert WANDB["profiles"] == ["wandb"]


def test_server_is_for_this_machine_only():
    assert WANDB["ports"] == ["127.0.0.1:8080:8080"]
    assert "network_mode" not in WANDB


def test_server_keeps_its_data_in_a_volume_of_compose():
    (mount,) = WANDB["volumes"]
    name, inside = mount.split(":")
    assert inside == "/vol"
    assert name in COMPOSE["volumes"]


def test_server_is_one_version():
    assert re.fullmatch(r"wandb/local:\d+\.\d+\.\d+", WANDB["image"])


def test_server_comes_back_and_says_when_it_is_ready():
    assert WANDB["restart"] == "unless-stopped"
    assert WANDB["healthcheck"]["test"][-1] == "http://localhost:8080/ready"


def test_training_reaches_the_server_that_the_environment_names():
    """Without a value it is passed on; an empty one would be an address, and W&B refuses it."""
    assert TRAIN["environment"]["WANDB_BASE_URL"] is None
    assert "http://wandb:8080" in TEXT


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_nothing_is_secret(service):
    environment = COMPOSE["services"][service].get("environment", {})
    secret = {name: value for name, value in environment.items() if re.search("KEY|SECRET|TOKEN|PASSWORD", name)}
    assert all(value == f"${{{name}:-}}" for name, value in secret.items())


def test_paths_are_there():
    assert (ROOT / "docker" / TRAIN["build"]["context"]).resolve() == ROOT
    assert (ROOT / TRAIN["build"]["dockerfile"]).is_file()
