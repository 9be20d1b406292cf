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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    bin_path = scripts(extra, folder)
    run(UV, "venv", "--quiet", "--python", sys.executable, bin_path.parent, cwd=folder)
    requirement = f"{wheel}" if extra == "core" else f"{wheel}[{extra}]"
    lock = ROOT / "requirements" / "dev.lock"
    run(UV, "pip", "install", "--quiet", "--python", bin_path / "python", "-c", lock, requirement, cwd=folder)
    return bin_path


def scripts(extra: str, folder: Path) -> Path:
    """Where the commands of an extra's environment are."""
    return folder / f"venv-{extra}" / "bin"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server of what training pushed, run from the serving extra's environment."""
    options = ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", "--drain-seconds", "0"]
    command = [
        scripts("serving", folder) / "tidegate",
        "serve",
        reference(folder),
        *options,
        "--output",
        "json",
    ]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if not (ready := server.stdout.readline()):
            raise SystemExit("package: 'tidegate serve' ended before it was ready.")
        yield f"http://127.0.0.1:{json.loads(ready)['http_port']}"
    finally:
        server.terminate()
        server.wait(60)
    if server.returncode != 0:
        raise SystemExit(f"package: 'tidegate serve' exited with {server.returncode} on SIGTERM, expected 0.")


def reference(folder: Path) -> str:
    """The channel of what training pushed."""
    return f"{(folder / 'store').as_uri()}/breast-cancer:stable"


def try_training(bin_path: Path, folder: Path) -> None:
    """Training makes a bundle and pushes it; the others use it."""
    config = ROOT / "examples/breast-cancer/train.yaml"
    store = ["--push", (folder / "store").as_uri(), "--channel", "stable"]
    run(bin_path / "tidegate", "train", config, "--out", folder / "bundle", *store, cwd=folder)


def try_core(bin_path: Path, folder: Path) -> None:
    """The core looks at bundles, carries them, and says what the other commands need."""
    tidegate, bundle, pulled = bin_path / "tidegate", folder / "bundle", folder / "pulled"
    run(tidegate, "--help", cwd=folder)
    run(tidegate, "push", bundle, (folder / "copies").as_uri(), "--channel", "stable", cwd=folder)
    run(tidegate, "pull", f"{(folder / 'copies').as_uri()}/breast-cancer:stable", pulled, cwd=folder)
    run(tidegate, "verify", pulled, cwd=folder)
    run(tidegate, "inspect", pulled, cwd=folder)
    said = run(tidegate, "train", ROOT / "examples/breast-cancer/train.yaml", cwd=folder, code=2)
    if "install tidegate[training]" not in said.stderr:
        raise SystemExit(f"package: 'tidegate train' without its extra says: {said.stderr}")


def try_serving(bin_path: Path, folder: Path) -> None:
    """Serving loads the bundle that training made, and answers."""
    with serving(folder) as url:
        run(bin_path / "tidegate", "predict", "--url", url, "--golden", reference(folder), cwd=folder)


def try_rollout(bin_path: Path, folder: Path) -> None:
    """Without a cluster, the status says so in a sentence."""
    config = f"KUBECONFIG={folder / 'nowhere'}"
    said = run("env", config, f"HOME={folder}", bin_path / "tidegate", "status", "x", cwd=folder, code=2)
    if "There is no cluster to ask" not in said.stderr:
        raise SystemExit(f"package: 'tidegate status' without a cluster says: {said.stderr}")


def try_loadtest(bin_path: Path, folder: Path) -> None:
    """The load test asks a server without having its packages, and writes its report."""
    plan = folder / "loadtest.yaml"
    plan.write_text("rate: 20\nconnections: 2\nwarmup: 1\nduration: 3\n")
    with serving(folder) as url:
        asked = ["--url", url, "--bundle", reference(folder), "--out", folder / "report"]
        run(bin_path / "tidegate", "loadtest", "run", plan, *asked, cwd=folder)
    if not (folder / "report" / "report.html").is_file():
        raise SystemExit("package: 'tidegate loadtest run' wrote no report.html.")


TRIALS: dict[str, Callable[[Path, Path], None]] = {
    "training": try_training,
    "core": try_core,
    "serving": try_serving,
    "rollout": try_rollout,
    "loadtest": try_loadtest,
}
"""In this order: the others use what training made, and the load test asks the server of serving."""


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
