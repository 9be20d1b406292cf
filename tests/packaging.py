# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build the wheel and use it as a stranger would: installed with one extra into a clean environment.

Import rules inside the tree cannot see what an extra installs, nor what an editable install makes
importable by accident; this can. ``python -m tests.packaging`` writes what it saw to ``out/package``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "package"
UV = Path(sys.executable).with_name("uv")

FOREIGN = {
    "core": ["sklearn", "kserve", "onnxruntime", "pandas", "locust", "matplotlib"],
    "serving": ["skl2onnx", "matplotlib", "locust", "pyarrow", "moto", "pytest"],
    "training": ["kserve", "locust", "moto", "pytest"],
    "rollout": ["kserve", "sklearn", "onnxruntime", "locust", "moto", "pytest"],
    "loadtest": ["kserve", "sklearn", "onnxruntime", "skops", "moto"],
}
"""What must not be importable with an extra: other extras' packages, and the tests'."""


def run(*command: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command away from the source tree, and stop here unless it exits as expected."""
    # Without the tree on the path, only what is installed can be imported.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode != code:
        raise SystemExit(
            f"package: '{' '.join(map(str, command))}' exited with {done.returncode}, expected {code}.\n"
            f"{done.stdout}{done.stderr}"
        )
    return done


def build(folder: Path) -> Path:
    """Build the wheel into a folder and return it."""
    build_command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    run(*build_command, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """Make an environment with the wheel and one extra, at the locked versions; return its ``bin``."""
    environment = folder / f"venv-{extra}"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment, cwd=folder)
    requirement = f"{wheel}" if extra == "core" else f"{wheel}[{extra}]"
    lock = ROOT / "requirements" / "dev.lock"
    python = environment / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "-c", lock, requirement, cwd=folder)
    return environment / "bin"


def try_core(bin_path: Path, folder: Path) -> None:
    """The core looks at bundles, and says what the other commands need."""
    run(bin_path / "tidegate", "--help", cwd=folder)
    said = run(bin_path / "tidegate", "train", ROOT / "examples/breast-cancer/train.yaml", cwd=folder, code=2)
    if "install tidegate[training]" not in said.stderr:
        raise SystemExit(f"package: 'tidegate train' without its extra says: {said.stderr}")


def try_training(bin_path: Path, folder: Path) -> None:
    """Training makes a bundle and pushes it; the others use it."""
    config = ROOT / "examples/breast-cancer/train.yaml"
    store = ["--push", (folder / "store").as_uri(), "--channel", "stable"]
    run(bin_path / "tidegate", "train", config, "--out", folder / "bundle", *store, cwd=folder)


def try_serving(bin_path: Path, folder: Path) -> None:
    """Serving loads the bundle that training made, and answers."""
    reference = f"{(folder / 'store').as_uri()}/breast-cancer:stable"
    ports = ["--http-port", "18480", "--grpc-port", "18481", "--drain-seconds", "0"]
    server = subprocess.Popen(
        [bin_path / "tidegate", "serve", reference, *ports], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()  # one line, when it is ready; none if it refused
        ask = ["--url", "http://127.0.0.1:18480", "--golden", reference]
        run(bin_path / "tidegate", "predict", *ask, cwd=folder)
    finally:
        server.terminate()
        server.wait(60)
    if server.returncode != 0:
        raise SystemExit(f"package: 'tidegate serve' exited with {server.returncode} on SIGTERM, expected 0.")


def try_rollout(bin_path: Path, folder: Path) -> None:
    """Without a cluster, the status says so in a sentence."""
    config = f"KUBECONFIG={folder / 'nowhere'}"
    said = run("env", config, f"HOME={folder}", bin_path / "tidegate", "status", "x", cwd=folder, code=2)
    if "There is no cluster to ask" not in said.stderr:
        raise SystemExit(f"package: 'tidegate status' without a cluster says: {said.stderr}")


def try_loadtest(bin_path: Path, folder: Path) -> None:
    """The load test starts without the server's packages."""
    run(bin_path / "tidegate", "loadtest", "run", "--help", cwd=folder)
    run(bin_path / "python", "-c", "import loadtests.campaign, loadtests.report", cwd=folder)


TRIALS: dict[str, Callable[[Path, Path], None]] = {
    "core": try_core,
    "training": try_training,
    "serving": try_serving,
    "rollout": try_rollout,
    "loadtest": try_loadtest,
}


def main() -> None:
    """Build, install with each extra, use, and write down what was seen."""
    OUT.mkdir(parents=True, exist_ok=True)
    seen = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build(folder / "dist")
        for extra, trial in TRIALS.items():
            began = time.monotonic()
            bin_path = install(wheel, extra, folder)
            missing = f"[name for name in {FOREIGN[extra]} if importlib.util.find_spec(name)]"
            script = f"import importlib.util; print({missing})"
            if (found := run(bin_path / "python", "-c", script, cwd=folder).stdout.strip()) != "[]":
                raise SystemExit(f"package: the extra '{extra}' brings {found}, which belong to another.")
            trial(bin_path, folder)
            size = sum(file.stat().st_size for file in bin_path.parent.rglob("*") if file.is_file())
            seen.append(
                {
                    "extra": extra,
                    "megabytes": round(size / 1e6),
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            print(f"package: {extra}: installed and used, {seen[-1]['megabytes']} MB", flush=True)
        summary = {"wheel": wheel.name, "wheel_bytes": wheel.stat().st_size, "extras": seen}
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"package: {summary['wheel']} works with each extra ({OUT.relative_to(ROOT)}/summary.json)")


if __name__ == "__main__":
    main()
