"""Execute the steps of docker/Dockerfile without Docker, in a clean Debian root, and start the result.

    python3 docker/prove.py --device cpu

Needs root, debootstrap, a network and some GB below --folder, and removes what it made. Debian's own Python of the same
series replaces the base image; every other step is read from the Dockerfile and executed literally.
"""

import argparse
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The network configuration of this machine is lent to the steps and never part of the image.
NETWORK_FILES = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
NETWORK_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
FIT = ("fit", "--config", "configs/san_digits.yaml", "--trainer.max_epochs")


def instructions(text):
    """Return the pairs (name, rest of the line) of a Dockerfile."""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.strip().split(maxsplit=1)) for line in lines if line.strip()]


def is_sent(path, dockerignore):
    """Return whether the build context has a file: the last pattern that matches it or a parent decides."""
    sent = True
    for line in dockerignore.splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if re.fullmatch(rf"{expression}(/.*)?", path):
            sent = line.strip().startswith("!")
    return sent


def call(*command, **options):
    """Run a program of this machine; raise if it fails."""
    return subprocess.run([str(word) for word in command], check=True, **options)


def du(folder):
    """Return the size of a folder in MB."""
    return int(call("du", "--summarize", "--block-size=1MB", folder, capture_output=True, text=True).stdout.split()[0])


class Image:
    """A stage of the Dockerfile: a folder with a system, and the way to start its programs."""

    def __init__(self, folder, parent):
        self.folder = folder
        self.variables, self.environment = {}, {"PATH": PATH, "HOME": "/root"}
        self.workdir, self.user, self.entrypoint, self.cmd = "/", "0:0", [], []
        call("cp", "--archive", parent, folder)

    def inside(self, path):
        """Return the path on this machine of a path in the image."""
        return self.folder / str(Path(self.workdir) / path).lstrip("/")

    def command(self, words, user, mounts=(), variables=None):
        """Return the command that runs a program in the image as process 1; mounts are arguments of mount."""
        mount = [f"mount {shlex.join(map(str, arguments))} && " for arguments in mounts]
        mount.append(f"mount -t proc proc {self.folder}/proc && ")
        environment = [f"{name}={value}" for name, value in {**self.environment, **(variables or {})}.items()]
        chroot = ["chroot", f"--userspec={user}", "--groups=", str(self.folder), "env", "-i", f"--chdir={self.workdir}"]
        isolated = ["unshare", "--mount", "--fork", "--kill-child", "--pid"]
        return [*isolated, "sh", "-c", f'{"".join(mount)}exec "$@"', "sh", *chroot, *environment, *words]

    def container(self, words, user, volume=None, variables=None):
        """Return the command for docker run --read-only --tmpfs /tmp; no container sees the files of another."""
        mounts = [("--bind", self.folder, self.folder), ("-o", "remount,bind,ro", self.folder)]
        mounts += [("-t", "tmpfs", "tmpfs", self.folder / place) for place in ("tmp", "dev/shm")]
        if volume:
            mounts.append(("--bind", volume.folder, self.inside("lightning_logs")))
        return self.command(words, user, mounts, variables)

    def copy(self, rest, stages):
        """Execute COPY from the build context or another stage."""
        *options, target = shlex.split(rest)
        stage = next((word.removeprefix("--from=") for word in options if word.startswith("--from=")), None)
        sources = [word for word in options if not word.startswith("--")]
        patterns = (ROOT / ".dockerignore").read_text()
        if unknown := [word for word in options if word.startswith("--") and not word.startswith("--from=")]:
            raise SystemExit(f"got COPY with {unknown}, which this script does not know")
        for source in sources:
            context = stages[stage].folder if stage else ROOT
            start, place = context / source.lstrip("/"), self.inside(target)

            def unsent(folder, names, context=context):
                paths = {name: str((Path(folder) / name).relative_to(context)) for name in names}
                return [name for name, path in paths.items() if not (stage or is_sent(path, patterns))]

            if unsent(start.parent, [start.name]):
                raise SystemExit(f"got COPY {source}, which .dockerignore keeps from the build")
            if start.is_dir():
                shutil.copytree(start, place, ignore=unsent, dirs_exist_ok=True)
            else:
                shutil.copy(start, place / start.name if target.endswith("/") else place)

    def do(self, name, rest, arguments, stages):
        """Execute an instruction."""
        match name:
            case "ARG":
                variable, _, default = rest.partition("=")
                self.variables[variable] = arguments.get(variable, *shlex.split(default or "''"))
            case "ENV":
                self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "WORKDIR":
                self.workdir = rest
                self.inside(".").mkdir(parents=True, exist_ok=True)
            case "COPY":
                self.copy(rest, stages)
            case "RUN":
                lent = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
                call(*self.command(["sh", "-c", rest], self.user, variables={**self.variables, **lent}))
            case "USER":
                self.user = rest
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.cmd = json.loads(rest)
            case "STOPSIGNAL":
                self.stop_signal = signal.Signals[rest]
            case "HEALTHCHECK" if rest == "NONE":
                pass
            case _:
                raise SystemExit(f"got {name} {rest}, which this script does not know")


def stand_in_for_the_base(image, folder):
    """Create a small Debian with Python and pip under /usr/local, like python:<series>-slim-<suite>."""
    series, suite = re.fullmatch(r"python:(3\.\d+)-slim-(\w+)", image).groups()
    call("debootstrap", "--variant=minbase", "--include=ca-certificates,python3-dev,python3-venv", suite, folder)
    for file in filter(os.path.exists, NETWORK_FILES):
        shutil.copy(file, f"{folder}{file}")
    # As in all images of Debian.
    (folder / "etc/apt/apt.conf.d/docker-clean").write_text(
        'DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb";};'
    )
    call("chroot", folder, "sh", "-c", "apt-get clean && rm -rf /var/lib/apt/lists/*")
    call("chroot", folder, "python3", "-m", "venv", "/usr/local")
    got = call("chroot", folder, "/usr/local/bin/python", "--version", capture_output=True, text=True).stdout
    if not got.startswith(f"Python {series}."):
        raise SystemExit(f"got {got.strip()} in Debian {suite}, expected {series} as in {image}")


def build(folder, arguments):
    """Execute all steps and return the last stage."""
    stages, base, number = {}, folder / "base", itertools.count()
    for name, rest in instructions((ROOT / "docker" / "Dockerfile").read_text()):
        print(f"== {name} {rest}", flush=True)
        if name == "FROM":
            parent, _, alias = re.fullmatch(r"(\S+)( AS (\S+))?", rest).groups()
            if parent not in stages:
                stand_in_for_the_base(parent, base)
            image = Image(folder / f"stage{next(number)}", stages[parent].folder if parent in stages else base)
            stages[alias or ""] = image
            continue
        before, started = du(image.folder), time.perf_counter()
        image.do(name, rest, arguments, stages)
        if name in ("RUN", "COPY"):
            print(f"-- {time.perf_counter() - started:.0f} s, {du(image.folder) - before:+} MB", flush=True)
    for place in ("root/.cache", "tmp", "var/lib/apt/lists", "var/cache/apt/archives"):
        left = [file for file in (image.folder / place).rglob("*") if file.is_file() and file.name != "lock"]
        assert not left, f"left in the image: {left}"
    return image


class Volume:
    """A folder of this machine that a user owns, mounted at the results."""

    def __init__(self, folder, user):
        self.folder, self.uid = folder / f"logs_{user}", int(user.split(":")[0])
        self.folder.mkdir()
        os.chown(self.folder, *map(int, user.split(":")))

    def last_run(self):
        """Return the folder of the last run; names begin with the time."""
        return max(self.folder.glob("san_digits/*"))


def start(image, user, *arguments, volume=None, stop_at=None):
    """Execute docker run --user USER IMAGE ARGUMENTS, with docker stop once stop_at exists; return the output."""
    words = [*image.entrypoint, *(arguments or image.cmd)]
    print(f"== as {user}: {shlex.join(words)}", flush=True)
    started = time.perf_counter()
    lent = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    command = image.container(words, user, volume, lent)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if stop_at:
        while process.poll() is None and not any(volume.folder.glob(stop_at)):
            time.sleep(0.5)
        (first,) = call("pgrep", "--parent", process.pid, capture_output=True, text=True).stdout.split()
        os.kill(int(first), image.stop_signal)
        print(f"-- {image.stop_signal.name} after {time.perf_counter() - started:.0f} s")
        started = time.perf_counter()
    output, _ = process.communicate(timeout=900)
    print(
        output, f"-- exit code {process.returncode} after {time.perf_counter() - started:.1f} s", sep="\n", flush=True
    )
    expected = 75 if stop_at else 0
    assert process.returncode == expected, f"got that exit code, expected {expected}"
    return output


def prove(image, folder):
    """Start the usual commands."""
    identity = call(*image.container(["id", "-u"], image.user), capture_output=True, text=True).stdout.strip()
    print(f"== id -u: {identity}")
    assert identity != "0"
    assert "validate" in start(image, image.user)
    for user in (image.user, "4321:4321"):
        volume = Volume(folder, user)
        start(image, user, *FIT, "1", volume=volume)
        run = volume.last_run()
        for file in ("config.yaml", "results.json", "report.html", "checkpoints/last.ckpt", "wandb/offline-run-*"):
            assert list(run.glob(file)), f"got no {file}"
        assert {path.lstat().st_uid for path in volume.folder.rglob("*")} == {volume.uid}
    start(image, user, *FIT, "1", "--model.compile", "true", volume=volume)
    volume = Volume(folder, "1000:1001")
    command = (*FIT, "20", "--resume", "auto")
    start(image, "1000:1001", *command, volume=volume, stop_at="*/*/checkpoints/last.ckpt")
    run = volume.last_run()
    assert not (run / "results.json").exists(), "got a run that was over before it was stopped"
    start(image, "1000:1001", *command, volume=volume)
    assert volume.last_run() == run
    assert (run / "results.json").exists(), "got a run that did not resume"


def main():
    """Build, prove and clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to do it")
    options = parser.parse_args()
    os.umask(0o022)  # Docker's, whatever this shell has
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="prove-", dir=options.folder) as folder:
        image = build(Path(folder), {"DEVICE": options.device})
        built = time.perf_counter()
        sizes = f"{du(image.folder)} MB, of which the base {du(Path(folder, 'base'))} MB"
        print(f"== built in {(built - started) / 60:.1f} minutes: {sizes}", flush=True)
        prove(image, Path(folder))
    print(f"== proved in {(time.perf_counter() - built) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
