# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.fakes import FakeClock
from tidegate.errors import ConfigurationError, ServerError
from tidegate_rollout import helm as helm_module
from tidegate_rollout.helm import PENDING_SECONDS, Completed, Helm, run_command

METADATA = {"name": "iris", "chart": "tidegate", "version": "0.1.0", "status": "deployed", "revision": 4}


class FakeHelm:
    """Records commands, and returns the output that a test sets by the command's first words."""

    def __init__(self):
        self.commands = []
        self.values = None
        self.outputs = {
            "version": "v4.3.1",
            "get metadata": json.dumps(METADATA),
            "get values": json.dumps({"canary": {"weight": 0}}),
            "show chart": "name: tidegate\nversion: 0.1.0\n",
            "show values": "canary: {weight: 0}\n",
            "upgrade": "",
            "rollback": "",
            "history": json.dumps(
                [
                    {"revision": 2, "status": "superseded"},
                    {"revision": 3, "status": "deployed"},
                    {"revision": 4, "status": "pending-upgrade"},
                ]
            ),
        }
        self.statuses = []
        """Statuses of the next calls of ``get metadata``, before the usual one."""

    def __call__(self, argv, on_wait):
        assert argv[0] == "helm"
        self.commands.append(" ".join(argv[1:]))
        on_wait()
        key = next(key for key in self.outputs if " ".join(argv[1:]).startswith(key))
        for argument in argv:
            if argument.startswith("--values="):
                self.values = yaml.safe_load(Path(argument.removeprefix("--values=")).read_text())
        if key == "get metadata" and self.statuses:
            return Completed(0, json.dumps(METADATA | {"status": self.statuses.pop(0)}), "")
        output = self.outputs[key]
        return output if isinstance(output, Completed) else Completed(0, output, "")


@pytest.fixture
def fake():
    return FakeHelm()


@pytest.fixture
def helm(fake):
    clock = FakeClock()
    return Helm("iris", "models", "helm/tidegate", run=fake, clock=clock, sleep=clock.advance)


def failed(message):
    return Completed(1, "", message)


def test_upgrade_keeps_chart_version_and_other_values(helm, fake):
    values = {"canary": {"weight": 5, "minReplicas": None}}
    helm.upgrade(values, "rollout to bbbb: weight-5")
    command = fake.commands[-1]
    assert command.startswith(
        "upgrade iris helm/tidegate --reset-then-reuse-values --version=0.1.0 --values="
    )
    assert command.endswith("--description=rollout to bbbb: weight-5 --namespace=models")
    assert fake.values == values


def test_values_of_a_release_that_is_not_deployed_are_none(helm, fake):
    assert helm.deployed_values() == {"canary": {"weight": 0}}
    for status in ("pending-upgrade", "failed"):
        fake.statuses = [status]
        assert helm.deployed_values() is None


def test_killed_helm_is_named_by_its_exit_code(helm, fake):
    fake.outputs["upgrade"] = Completed(-9, "", "")
    with pytest.raises(ServerError, match=r"^helm upgrade of iris failed: exit code -9\.$"):
        helm.upgrade({}, "step")


def test_pending_upgrade_that_ends_is_waited_for(helm, fake):
    fake.statuses = ["pending-upgrade"] * 5
    helm.upgrade({}, "step")
    assert not any(command.startswith("rollback") for command in fake.commands)


def test_pending_upgrade_of_a_killed_helm_is_rolled_back(helm, fake):
    fake.statuses = ["pending-upgrade"] * int(4 * PENDING_SECONDS)
    helm.upgrade({}, "step")
    changes = [command.split(" --")[0] for command in fake.commands if command[:2] in ("ro", "up")]
    assert changes == ["rollback iris 3", "upgrade iris helm/tidegate"]


@pytest.mark.parametrize(
    ("version", "message"),
    [("v3.13.9", "helm on PATH is version v3.13.9: expected 3.14 or newer"), ("", "version unknown")],
)
def test_old_helm_is_rejected(helm, fake, version, message):
    fake.outputs["version"] = version
    with pytest.raises(ConfigurationError, match=message):
        helm.verify_version()


@pytest.mark.parametrize("version", ["v3.14.0", "v4.3.1+g123"])
def test_newer_helm_is_accepted(helm, fake, version):
    fake.outputs["version"] = version
    helm.verify_version()


def test_other_chart_version_is_rejected(helm, fake):
    helm.verify_chart()
    fake.outputs["show chart"] = "name: tidegate\nversion: 0.2.0\n"
    with pytest.raises(
        ConfigurationError, match=r"is tidegate 0\.2\.0, but the release iris has tidegate 0\.1"
    ):
        helm.verify_chart()


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        ("Error: UPGRADE FAILED: values don't meet the specifications of the schema", ConfigurationError),
        (
            "Error: UPGRADE FAILED: execution error at (tidegate/templates/x.yaml:1:4): wrong",
            ConfigurationError,
        ),
        ('Error: leases is forbidden: User "ci" cannot get', ConfigurationError),
        ("Error: release: not found", ConfigurationError),
        ("Error: UPGRADE FAILED: Kubernetes cluster unreachable: dial tcp: i/o timeout", ServerError),
    ],
)
def test_failure_of_helm_is_one_sentence(helm, fake, stderr, error):
    fake.outputs["upgrade"] = failed(f"WARNING: deprecated\n{stderr}\n")
    with pytest.raises(error, match=r"^helm upgrade of iris failed: (?!.*WARNING).*\.$"):
        helm.upgrade({}, "step")


def test_release_without_deployed_revision_needs_repair(helm, fake):
    fake.statuses = ["pending-install"] * int(4 * PENDING_SECONDS)
    fake.outputs["history"] = json.dumps([{"revision": 1, "status": "pending-install"}])
    with pytest.raises(ConfigurationError, match="no deployed revision to return to"):
        helm.upgrade({}, "step")


def test_run_command_returns_output_and_exit_code():
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert run_command([sys.executable, "-c", program], lambda: None) == Completed(3, "out\n", "err\n")
    with pytest.raises(ConfigurationError, match=r"'helm-that-is-missing' is not on PATH"):
        run_command(["helm-that-is-missing"], lambda: None)


def test_run_command_ends_a_process_that_hangs(monkeypatch):
    monkeypatch.setattr(helm_module, "TIMEOUT_SECONDS", 0.0)
    monkeypatch.setattr(helm_module, "_POLL_SECONDS", 0.01)
    with pytest.raises(ServerError, match="has not ended within 0 s"):
        run_command([sys.executable, "-c", "import time; time.sleep(60)"], lambda: None)


def test_interrupted_command_lets_the_upgrade_finish(tmp_path, monkeypatch):
    monkeypatch.setattr(helm_module, "_POLL_SECONDS", 0.01)
    done = tmp_path / "done"
    started = tmp_path / "started"
    program = (
        f"import pathlib, time; pathlib.Path({str(started)!r}).touch()\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\n"
        f"pathlib.Path({str(done)!r}).touch()"
    )

    def interrupt():
        if started.exists():
            (tmp_path / "go").touch()
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run_command([sys.executable, "-c", program], interrupt)
    assert done.exists()
