# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build the wheel, install it with each extra into a clean environment, and run its commands.

Before that, resolve the dependencies of each image for each platform.

An editable install and the source tree make more packages importable than a user's environment has, so no
other test detects a missing dependency. The commands run in a folder with packages called `serving`,
`training`, `loadtests` and `rollout`, as in many machine-learning repositories. Importing one of them raises
an error.

``python -m tests.packaging`` writes its results to ``out/package``.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "package"
UV = Path(sys.executable).with_name("uv")
EXAMPLE = ROOT / "examples" / "breast-cancer" / "train.yaml"

PACKAGES = {"tidegate", "tidegate_serving", "tidegate_training", "tidegate_loadtests", "tidegate_rollout"}
"""All top-level packages of the wheel."""

SAME_NAMED_FOLDERS = ("serving", "training", "loadtests", "rollout")
"""Packages in the working folder that the installed packages must never import."""

IMAGE_PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
"""The platforms of the images, in uv's words. The base image has a newer glibc."""

FOREIGN = {
    "core": ["sklearn", "kserve", "onnxruntime", "pandas", "locust", "matplotlib"],
    "serving": ["skl2onnx", "matplotlib", "locust", "pyarrow", "moto", "pytest"],
    "training": ["kserve", "locust", "moto", "pytest"],
    "rollout": ["kserve", "sklearn", "onnxruntime", "locust", "moto", "pytest"],
    "loadtest": ["kserve", "sklearn", "onnxruntime", "skops", "moto"],
}
"""Packages that an extra must not install: those of other extras and of the tests."""


def run(*command: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command outside the source tree; end the program unless it exits with the expected code.

    Args:
        command: The command.
        cwd: The folder to run in.
        code: The expected exit code.
    """
    completed = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=_environment(), capture_output=True, text=True
    )
    if completed.returncode != code:
        raise SystemExit(
            f"package: '{' '.join(map(str, command))}' exited with {completed.returncode}, expected {code}.\n"
            f"{completed.stdout}{completed.stderr}"
        )
    return completed


def _environment() -> dict[str, str]:
    """Return the environment without the variables that change Python's module search path."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}


def expect(condition: bool, message: str) -> None:
    """End the program with a message unless a condition holds."""
    if not condition:
        raise SystemExit(f"package: {message}")


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, verify its packages, and return its path."""
    run(*(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT), cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        top_level = {name.partition("/")[0] for name in archive.namelist()}
    packages = {name for name in top_level if not name.endswith(".dist-info")}
    expect(packages == PACKAGES, f"{wheel.name}: expected {sorted(PACKAGES)}, received {sorted(packages)}.")
    return wheel


@dataclass(frozen=True)
class Installation:
    """A clean environment with the wheel and one extra.

    Args:
        extra: The extra; `core` for none.
        folder: The folder of the environments.
        work: The folder that the commands run in.
    """

    extra: str
    folder: Path
    work: Path

    @property
    def environment(self) -> Path:
        """The environment's folder."""
        return self.folder / f"venv-{self.extra}"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.environment / "bin" / "python"

    @property
    def store(self) -> str:
        """The URI of the store that training pushes to."""
        return (self.folder / "store").as_uri()

    @property
    def reference(self) -> str:
        """The channel of the bundle that training has pushed."""
        return f"{self.store}/breast-cancer:stable"

    def install(self, wheel: Path) -> None:
        """Create the environment with the locked versions."""
        run(UV, "venv", "--quiet", "--python", sys.executable, self.environment, cwd=self.folder)
        requirement = f"{wheel}" if self.extra == "core" else f"{wheel}[{self.extra}]"
        lock = ROOT / "requirements" / "dev.lock"
        options = ["--quiet", "--python", self.python, "-c", lock]
        run(UV, "pip", "install", *options, requirement, cwd=ROOT)  # where uv reads the overrides of the lock

    def tidegate(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command `tidegate` in the working folder."""
        return run(self.environment / "bin" / "tidegate", *arguments, cwd=self.work, code=code)

    def module(self, name: str, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `python -m` in the working folder, which Python then searches first.

        Args:
            name: The package.
            arguments: The command line.
            code: The expected exit code.
        """
        return run(self.python, "-m", name, *arguments, cwd=self.work, code=code)

    @property
    def size_bytes(self) -> int:
        """The size of the environment."""
        return sum(file.stat().st_size for file in self.environment.rglob("*") if file.is_file())


def create_working_folder(folder: Path) -> Path:
    """Create a folder with same-named packages whose import raises an error, and return it."""
    for name in SAME_NAMED_FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('the working folder has {name}')\n")
    return folder


def verify_imports(installation: Installation) -> None:
    """Verify that Python imports the installed packages, and no package of another extra."""
    for name in SAME_NAMED_FOLDERS:
        failed = run(installation.python, "-c", f"import {name}", cwd=installation.work, code=1)
        expect(f"the working folder has {name}" in failed.stderr, f"'import {name}': {failed.stderr}")
    program = (
        "import importlib, importlib.util, json;"
        f"print(json.dumps([[importlib.import_module(name).__file__ for name in {sorted(PACKAGES)}],"
        f"[name for name in {FOREIGN[installation.extra]} if importlib.util.find_spec(name)]]))"
    )
    files, foreign = json.loads(run(installation.python, "-c", program, cwd=installation.work).stdout)
    outside = [file for file in files if not Path(file).is_relative_to(installation.environment.resolve())]
    expect(not outside, f"{installation.extra}: expected packages in its environment, received {outside}.")
    expect(not foreign, f"the extra '{installation.extra}' installs {foreign}, which belong to another.")
    installation.tidegate("--help")  # imports the modules of all commands


@contextmanager
def start_server(folder: Path, work: Path) -> Iterator[str]:
    """Serve the pushed bundle from the environment of the serving extra, and yield the server's URL."""
    serving = Installation("serving", folder, work)
    options = ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--drain-seconds", "0"]
    command = [serving.python, "-m", "tidegate_serving", "serve", serving.reference, *options]
    server = subprocess.Popen(
        [*command, "--output", "json"], cwd=work, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        ready = server.stdout.readline()
        expect(bool(ready), "'tidegate serve' ended before it was ready.")
        yield f"http://127.0.0.1:{json.loads(ready)['http_port']}"
    finally:
        server.terminate()
        server.wait(60)
    expect(
        server.returncode == 0,
        f"'tidegate serve' exited with {server.returncode} after SIGTERM, expected 0.",
    )


def try_training(training: Installation) -> None:
    """Train a bundle and push it; the other environments use it."""
    store = ["--push", training.store, "--channel", "stable"]
    bundle = training.folder / "bundle"
    training.module("tidegate_training", "train", EXAMPLE, "--out", bundle, *store)
    training.tidegate("submit", "--help")


def try_core(core: Installation) -> None:
    """Push, pull, verify and inspect the bundle; a command of an extra names that extra."""
    copies, pulled = (core.folder / "copies").as_uri(), core.folder / "pulled"
    core.tidegate("push", core.folder / "bundle", copies, "--channel", "stable")
    core.tidegate("pull", f"{copies}/breast-cancer:stable", pulled)
    core.tidegate("verify", pulled)
    core.tidegate("inspect", pulled)
    failed = core.tidegate("train", EXAMPLE, code=2)
    expect("tidegate[training]" in failed.stderr, f"'tidegate train' without its extra: {failed.stderr}")
    failed = core.tidegate("sign", pulled, "--key", pulled, code=2)
    expect("tidegate[sign]" in failed.stderr, f"'tidegate sign' without its extra: {failed.stderr}")


def try_serving(serving: Installation) -> None:
    """Serve the bundle, and compare the responses with its golden outputs."""
    with start_server(serving.folder, serving.work) as url:
        serving.tidegate("predict", "--url", url, "--golden", serving.reference)


def try_rollout(rollout: Installation) -> None:
    """Run `status` without a cluster, which names the missing configuration."""
    command = ["env", f"KUBECONFIG={rollout.folder / 'missing'}", f"HOME={rollout.folder}", rollout.python]
    failed = run(*command, "-m", "tidegate_rollout", "status", "x", cwd=rollout.work, code=2)
    expect("KUBECONFIG" in failed.stderr, f"'tidegate status' without a cluster: {failed.stderr}")


def try_loadtest(loadtest: Installation) -> None:
    """Load-test the server without its packages, and write the report."""
    campaign, report = loadtest.folder / "campaign.yaml", loadtest.folder / "report"
    campaign.write_text("phases: [{name: load, duration: 3, load: {model: constant, rate: 20}}]\n")
    with start_server(loadtest.folder, loadtest.work) as url:
        options = ["--url", url, "--bundle", loadtest.reference, "--out", report]
        loadtest.module("tidegate_loadtests", "loadtest", "run", campaign, *options)
    expect((report / "report.html").is_file(), "'tidegate loadtest run' wrote no report.html.")


def verify_images_resolve(folder: Path) -> None:
    """Verify that a wheel exists for each dependency of an image, on each of its platforms."""
    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    (version,) = re.findall(r"ARG PYTHON_IMAGE=\S+/python:(\d+\.\d+)", dockerfile)
    for lock in re.findall(r"install\.sh dependencies (\S+)", dockerfile):
        for platform in IMAGE_PLATFORMS:
            # As in images/install.sh, but without downloading the wheels.
            options = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", ROOT / lock]
            target = [
                "--python-platform",
                platform,
                "--python-version",
                version,
                "--target",
                folder / "image",
            ]
            run(UV, "pip", "install", "--quiet", "--dry-run", *target, *options, cwd=folder)
            print(f"package: {lock} has wheels for {platform}", flush=True)


TRIALS: dict[str, Callable[[Installation], None]] = {
    "training": try_training,
    "core": try_core,
    "serving": try_serving,
    "rollout": try_rollout,
    "loadtest": try_loadtest,
}
"""The trials in their order: training makes the bundle, and the load test uses the server of serving."""


def main() -> None:
    """Build the wheel, run the trial of each extra, and write the results."""
    OUT.mkdir(parents=True, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        verify_images_resolve(folder)
        wheel = build_wheel(folder / "dist")
        work = create_working_folder(folder / "work")
        for extra, trial in TRIALS.items():
            started = time.monotonic()
            installation = Installation(extra, folder, work)
            installation.install(wheel)
            verify_imports(installation)
            trial(installation)
            megabytes = round(installation.size_bytes / 1e6)
            seconds = round(time.monotonic() - started, 1)
            results.append({"extra": extra, "megabytes": megabytes, "seconds": seconds})
            print(f"package: {extra}: installed and used, {megabytes} MB", flush=True)
        summary = {"wheel": wheel.name, "wheel_bytes": wheel.stat().st_size, "extras": results}
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"package: {summary['wheel']} works with each extra ({OUT.relative_to(ROOT)}/summary.json)")


if __name__ == "__main__":
    main()
