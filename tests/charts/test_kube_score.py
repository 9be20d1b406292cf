# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""kube-score finds nothing in the charts' values files except findings that are accepted with a reason."""

import pytest
import yaml

from tests.charts.chart import render
from tests.charts.kube_score import KUBE_SCORE, find_faults
from tests.charts.test_examples import CI_FILES
from tests.support.go_tool import find

ACCEPTED = {
    "container-cpu-requests-equal-limits": "idle replicas cost little, and a burst may use more",
    "container-memory-requests-equal-limits": "loading and fitting need more memory than the time after them",
    "container-resource-requests-equal-limits": "the two checks above",
    "container-ephemeral-storage-request-and-limit": "optional values, because a LimitRange usually has them",
    "container-image-pull-policy": "tags of releases do not move, and image.digest cannot",
    "container-security-context-user-group-id": "the image has the user 10001, and OpenShift assigns another",
    "cronjob-has-deadline": "a late run is better than none; cronJob.startingDeadlineSeconds is a value",
    "deployment-has-host-podantiaffinity": "topology spread constraints distribute the pods over nodes",
    "deployment-has-poddisruptionbudget": "scheduling-values.yaml shows how to turn it off",
    "deployment-replicas": "KEDA scales this Deployment, and kube-score does not know it",
    "horizontalpodautoscaler-replicas": "one replica suffices for a trial; the chart's notes recommend two",
    "pod-networkpolicy": "off by default, because a policy needs names of namespaces in the cluster",
}
"""The reason by check."""

COMMAND = find(KUBE_SCORE, "kube-score")


@pytest.mark.skipif(COMMAND is None, reason="kube-score is not built: run make kube-score")
def test_charts_have_the_accepted_findings_only() -> None:
    assert COMMAND is not None
    findings = {
        finding
        for path in CI_FILES
        for finding in find_faults(COMMAND, render(yaml.safe_load(path.read_text()), path.parent.parent.name))
    }
    assert sorted(finding for finding in findings if finding.check not in ACCEPTED) == []
    assert ACCEPTED.keys() == {finding.check for finding in findings}
