# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The deployer's policy in helm/tidegate, and the signing key in helm/tidegate-training."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.chart import (
    HELM,
    InvalidValuesError,
    Object,
    Values,
    of_kind,
    pod_checksums,
    pod_specs,
    render,
)
from tests.charts.conftest import DIGEST, OTHER, merged
from tests.charts.test_training import ONCE
from tests.support.signing import IDENTITY, Authority, new_key, public_pem
from tidegate.trust.policy import Policy
from tidegate.trust.policy_file import read_policy
from tidegate.trust.signers import CertificateSigner, KeySigner

POLICY_FILE = "/etc/tidegate/policy.yaml"
MOUNT = {"name": "policy", "mountPath": "/etc/tidegate", "readOnly": True}
KEY = new_key()


def with_trust(base: Values, **trust: Any) -> Values:
    return merged(base, {"trust": trust})


def with_key(base: Values, **trust: Any) -> Values:
    return with_trust(base, signers=[{"name": "training", "publicKey": public_pem(KEY)}], **trust)


def rendered_policy(values: Values, folder: Path) -> Policy:
    """Return the policy that a pod reads from the rendered ConfigMap."""
    [config] = of_kind(render(values), "ConfigMap").values()
    file = folder / "policy.yaml"
    file.write_text(config["data"]["policy.yaml"])
    return read_policy(file)


def predictor_pods(values: Values) -> dict[str, Object]:
    return {name: pod for name, pod in pod_specs(render(values)).items() if name.startswith("Inference")}


def test_release_without_trust_has_no_policy(minimal) -> None:
    objects = render(minimal)
    assert not of_kind(objects, "ConfigMap")
    assert "policy" not in str(pod_specs(objects))


def test_pods_read_signers_and_limits_of_the_values(minimal, tmp_path) -> None:
    authority = Authority()
    certified = {
        "name": "release",
        "certificateAuthorities": authority.pem,
        "identity": IDENTITY,
        "validAt": "2026-06-01T00:00:00Z",
    }
    values = with_key(minimal, revoked=[f"sha256:{OTHER}"], maxBundleBytes=200000000)
    values["trust"]["signers"].append(certified)
    policy = rendered_policy(values, tmp_path)
    training, release = policy.signers
    assert training == KeySigner("training", KEY.private_key.public_key())
    assert isinstance(release, CertificateSigner)
    assert (release.authorities, release.identity) == ([authority.root], IDENTITY)
    assert policy.revoked == {OTHER}
    assert policy.max_bundle_bytes == 200000000


def test_values_that_users_copy_have_a_valid_key(tmp_path) -> None:
    values = yaml.safe_load((HELM / "tidegate" / "ci" / "signed-values.yaml").read_text())
    assert [signer.name for signer in rendered_policy(values, tmp_path).signers] == ["training"]
    schema = yaml.safe_load((HELM / "tidegate" / "values.schema.yaml").read_text())
    [example] = schema["properties"]["trust"]["properties"]["signers"]["examples"]
    assert example == values["trust"]["signers"]


def test_init_container_and_server_read_the_same_policy(two_tracks) -> None:
    values = merged(with_key(two_tracks), {"server": {"allowedJoblibDigests": [DIGEST]}})
    pods = predictor_pods(values)
    assert len(pods) == 2
    for pod in pods.values():
        [puller], [server] = pod["initContainers"], pod["containers"]
        expected = ["--policy", POLICY_FILE, "--allow-joblib-digest", DIGEST]
        assert puller["args"][3:] == expected
        assert {"name": "TIDEGATE_POLICY", "value": POLICY_FILE} in server["env"]
        assert MOUNT in puller["volumeMounts"]
        assert MOUNT in server["volumeMounts"]
        assert {"name": "policy", "configMap": {"name": "demo-policy"}} in pod["volumes"]


@pytest.mark.parametrize("scheme", ["pvc", "oci"])
def test_server_reads_the_policy_of_a_bundle_that_is_not_pulled(minimal, scheme) -> None:
    values = merged(with_key(minimal), {"model": {"uri": f"{scheme}://models/store/breast-cancer"}})
    [pod] = predictor_pods(values).values()
    assert "initContainers" not in pod
    assert MOUNT in pod["containers"][0]["volumeMounts"]


def test_helm_test_loads_under_the_policy_of_the_server(minimal) -> None:
    values = merged(with_key(minimal), {"server": {"predictor": "loans.predictor:Loan"}})
    golden = pod_specs(render(values))["Pod/demo-golden"]
    [container] = golden["containers"]
    assert {"name": "TIDEGATE_POLICY", "value": POLICY_FILE} in container["env"]
    assert MOUNT in container["volumeMounts"]


def test_existing_config_map_replaces_the_values(minimal) -> None:
    objects = render(with_trust(minimal, existingConfigMap="model-policy"))
    assert not of_kind(objects, "ConfigMap")
    [pod] = predictor_pods(with_trust(minimal, existingConfigMap="model-policy")).values()
    assert {"name": "policy", "configMap": {"name": "model-policy"}} in pod["volumes"]


def test_change_of_the_policy_restarts_the_pods(minimal) -> None:
    def checksum(values: Values) -> str:
        [sum_of_pods] = pod_checksums(render(values)).values()
        return sum_of_pods

    signed = checksum(with_key(minimal))
    assert checksum(with_key(minimal, revoked=[OTHER])) != signed
    assert signed != checksum(minimal)


@pytest.mark.parametrize(
    ("trust", "parts"),
    [
        ({"signers": [{"name": "a"}]}, ["trust.signers[0] (a)", "either publicKey"]),
        (
            {"signers": [{"name": "a", "certificateAuthorities": "-----BEGIN CERTIFICATE-----"}]},
            ["trust.signers[0] (a)", "without identity", "set identity"],
        ),
        (
            {"signers": [{"name": "a", "publicKey": "-----BEGIN PUBLIC KEY-----", "identity": "b"}]},
            ["trust.signers[0] (a)", "remove them"],
        ),
        (
            {"signers": [{"name": "a", "publicKey": "key.pub"}]},
            ["trust.signers[0].publicKey", "BEGIN PUBLIC KEY", "--set-file"],
        ),
        ({"revoked": ["abc"]}, ['trust.revoked[0] is "abc"', "64 digits"]),
        ({"revoked": [DIGEST], "existingConfigMap": "a"}, ["existingConfigMap", "one policy"]),
        ({"signers": [{"publicKey": "x"}]}, ["name"]),
    ],
)
def test_wrong_trust_is_rejected_with_the_fix(minimal, trust, parts) -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render(with_trust(minimal, **trust))
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_policy_variable_is_rejected_with_its_value(minimal) -> None:
    values = merged(minimal, {"server": {"env": [{"name": "TIDEGATE_POLICY", "value": "/x"}]}})
    with pytest.raises(InvalidValuesError, match="use trust"):
        render(values)


def training_pod(**signing: str) -> Object:
    [job] = of_kind(render(merged(ONCE, {"signing": signing}), "tidegate-training"), "Job").values()
    return job["spec"]["template"]["spec"]


def test_training_job_signs_with_the_key_of_a_secret() -> None:
    pod = training_pod(secretName="bundle-signing", certificate="certificate.pem")
    [container] = pod["containers"]
    options = ["--sign", "/etc/signing/key.pem", "--certificate", "/etc/signing/certificate.pem"]
    assert container["args"][-4:] == options
    assert {"name": "signing", "mountPath": "/etc/signing", "readOnly": True} in container["volumeMounts"]
    assert {"name": "signing", "secret": {"secretName": "bundle-signing"}} in pod["volumes"]


def test_training_job_without_a_secret_does_not_sign() -> None:
    assert "signing" not in str(training_pod())
