# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every chart refuses what breaks the restricted Pod Security Standard, and accounts that cannot be."""

import pytest
import yaml

from tests.charts.chart import HELM, RefusedError, Values, of_kind, pod_specs, render
from tests.charts.conftest import merged
from tests.charts.test_examples import CHARTS


def least(chart: str) -> Values:
    return yaml.safe_load((HELM / chart / "ci" / "minimal-values.yaml").read_text())


WRONG = [
    ("podSecurityContext: {runAsUser: 0}", ["runAsUser is 0", "restricted", "another number"]),
    ("podSecurityContext: {runAsNonRoot: false}", ["runAsNonRoot is false", "restricted", "set it to true"]),
    (
        "podSecurityContext: {seccompProfile: {type: Unconfined}}",
        ["seccompProfile.type is Unconfined", "set it to RuntimeDefault"],
    ),
    *(
        (f"podSecurityContext: {{{wrong}}}", ["belongs to containers", "remove it"])
        for wrong in (
            "privileged: true",
            "allowPrivilegeEscalation: true",
            "capabilities: {add: [SYS_ADMIN]}",
            "readOnlyRootFilesystem: false",
        )
    ),
    ("serviceAccount: {name: My_Account}", ['serviceAccount.name is "My_Account"', "expected"]),
    ("serviceAccount: {name: -models}", ['serviceAccount.name is "-models"', "expected"]),
    ("serviceAccount: {name: default}", ["called 'default'", "serviceAccount.create to false"]),
]


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[wrong for wrong, _ in WRONG])
def test_what_cannot_be_is_refused_with_a_way_out(chart: str, wrong: str, said: list[str]) -> None:
    with pytest.raises(RefusedError) as refusal:
        render(merged(least(chart), yaml.safe_load(wrong)), chart)
    for words in said:
        assert words in str(refusal.value)


@pytest.mark.parametrize("chart", CHARTS)
def test_a_release_called_default_uses_the_namespaces_account_only_if_it_is_told_to(chart: str) -> None:
    with pytest.raises(RefusedError, match="called 'default'"):
        render(least(chart), chart, release="default")
    made = render(merged(least(chart), {"serviceAccount": {"create": False}}), chart, release="default")
    assert not of_kind(made, "ServiceAccount")
    assert {pod["serviceAccountName"] for pod in pod_specs(made).values()} == {"default"}


@pytest.mark.parametrize("chart", CHARTS)
def test_what_a_cluster_chooses_itself_may_be_left_out(chart: str) -> None:
    nothing = {"runAsUser": None, "runAsGroup": None, "runAsNonRoot": None, "seccompProfile": None}
    for pod in pod_specs(render(merged(least(chart), {"podSecurityContext": nothing}), chart)).values():
        assert pod["securityContext"] == {}


def test_the_charts_refuse_alike() -> None:
    texts = {(HELM / chart / "templates" / "_security.tpl").read_text() for chart in CHARTS}
    assert len(texts) == 1
