# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""TLS of helm/tidegate's pods: probes, test, Gateway, and values that contradict it."""

import pytest
import yaml

from tests.charts.chart import HELM, InvalidValuesError, Object, Values, containers, of_kind, render
from tests.charts.conftest import merged

TLS: Values = yaml.safe_load((HELM / "tidegate" / "ci" / "tls-values.yaml").read_text())
TRACKS = {"demo": "demo-predictor", "demo-canary": "demo-canary-predictor"}
"""The name of each InferenceService, with that of its Service."""


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(TLS)


def test_probes_use_https_and_the_server_the_secret(objects: list[Object]) -> None:
    for name in TRACKS:
        pod = of_kind(objects, "InferenceService")[name]["spec"]["predictor"]
        [server] = pod["containers"]
        probes = [server[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")]
        assert [probe["scheme"] for probe in probes] == ["HTTPS"] * 3
        [volume] = [volume for volume in pod["volumes"] if "secret" in volume]
        [mount] = [mount for mount in server["volumeMounts"] if mount["name"] == volume["name"]]
        assert (volume["secret"]["secretName"], mount["readOnly"]) == ("breast-cancer-tls", True)
        files = [entry["value"] for entry in server["env"] if entry["name"].startswith("KSERVE_TLS_")]
        assert files == [f"{mount['mountPath']}/tls.crt", f"{mount['mountPath']}/tls.key"]


def test_golden_test_verifies_the_certificate(objects: list[Object]) -> None:
    for name, service in TRACKS.items():
        pod = of_kind(objects, "Pod")[f"{name}-golden"]["spec"]
        golden = containers(pod)[-1]
        [authority] = [volume for volume in pod["volumes"] if "configMap" in volume]
        [mount] = [mount for mount in golden["volumeMounts"] if mount["name"] == authority["name"]]
        assert authority["configMap"] == {"name": "models-ca"}
        assert golden["args"][2] == f"https://{service}.models:80"
        assert golden["env"] == [{"name": "SSL_CERT_FILE", "value": f"{mount['mountPath']}/ca.crt"}]
        assert not any("secret" in volume for volume in pod["volumes"])


def backends(canary: Values) -> set[str]:
    """Return the Services that a route names."""
    [route] = of_kind(render(merged(TLS, {"canary": canary})), "HTTPRoute").values()
    rules = route["spec"]["rules"]
    mirrors = [mirror["requestMirror"]["backendRef"] for rule in rules for mirror in rule.get("filters", ())]
    return {backend["name"] for rule in rules for backend in [*rule["backendRefs"], *mirrors]}


def test_gateway_verifies_the_certificate_of_each_backend(objects: list[Object]) -> None:
    policies = of_kind(objects, "BackendTLSPolicy")
    validations = [policies[name]["spec"]["validation"] for name in TRACKS]
    assert [validation["hostname"] for validation in validations] == [
        f"{it}.models" for it in TRACKS.values()
    ]
    covered = {target["name"] for policy in policies.values() for target in policy["spec"]["targetRefs"]}
    assert covered == backends({"weight": 20}) | backends({"mirrorPercent": 10})


@pytest.mark.parametrize("canary", [{"digest": ""}, {"weight": 20}, {"mirrorPercent": 10}], ids=str)
def test_gateway_verifies_only_services_that_exist(canary: Values) -> None:
    objects = render(merged(TLS, {"canary": canary}))
    predictors = {TRACKS[name] for name in of_kind(objects, "InferenceService")}
    policies = of_kind(objects, "BackendTLSPolicy").values()
    targets = {target["name"] for policy in policies for target in policy["spec"]["targetRefs"]}
    assert targets == predictors | of_kind(objects, "Service").keys()


def test_default_has_no_tls(minimal: Values) -> None:
    text = yaml.safe_dump(render(minimal))
    assert not {word for word in ("https", "HTTPS", "KSERVE_TLS", "SSL_CERT_FILE") if word in text}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"server": {"tls": {"caConfigMap": ""}}}, ["server.tls.caConfigMap is not", "ca.crt"]),
        ({"server": {"tls": {"secretName": ""}}}, ["server.tls.secretName is not"]),
        ({"server": {"metricsPort": None}}, ["server.metricsPort", "8082"]),
        ({"server": {"env": [{"name": "KSERVE_TLS_CERT_FILE", "value": "x"}]}}, ["server.tls.secretName"]),
    ],
    ids=["no authority", "no certificate", "metrics with TLS", "variable"],
)
def test_values_that_contradict_tls_are_rejected(values: Values, words: list[str]) -> None:
    with pytest.raises(InvalidValuesError) as caught:
        render(merged(TLS, values))
    assert all(word in str(caught.value) for word in words)
