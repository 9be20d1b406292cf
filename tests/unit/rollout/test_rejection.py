# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The messages are those of Kubernetes' and KServe's admission, with other names."""

import pytest

from tidegate_rollout.rejection import Rejection

POD = 'pods "iris-x2k4" is forbidden: '
REPEATED = [
    (POD + 'violates PodSecurity "restricted:latest": runAsNonRoot != true', "Pod Security Standard"),
    (
        POD + 'error looking up service account models/iris: serviceaccount "iris" not found',
        "create the account",
    ),
    (POD + "no PriorityClass with name high was found", "create the class"),
    (POD + "failed quota: team: must specify limits.ephemeral-storage for: server", "set the resources"),
    (POD + "maximum cpu usage per Container is 500m, but limit is 1", "LimitRange"),
    (POD + "cpu max limit to request ratio per Container is 2, but provided ratio is 20.0", "as the message"),
    ('admission webhook "kyverno" denied the request: unknown registry', "cluster's policy"),
    (
        'services is forbidden: User "system:serviceaccount:kserve:c" cannot create resource "services"',
        "grant that permission",
    ),
    ('Deployment.apps "iris-predictor" is invalid: spec.template.labels: Invalid value', "correct the field"),
    (
        POD + "exceeded quota: team, requested: limits.memory=1Gi,pods=1, "
        "used: limits.memory=0,pods=3, limited: limits.memory=512Mi,pods=4",
        "raise the quota",
    ),
]
RETRIED = [
    POD + "exceeded quota: team, requested: limits.cpu=1, used: limits.cpu=3500m, limited: limits.cpu=4",
    POD + "status unknown for quota: team, resources: limits.cpu",
    'Internal error occurred: failed calling webhook "pods.kserve.io": connection refused',
    "the server was unable to return a response in the time allotted",
]


@pytest.mark.parametrize(("message", "fix"), REPEATED)
def test_rejection_that_repeats_has_a_fix(message, fix):
    assert fix in str(Rejection.parse(message).fix)


@pytest.mark.parametrize("message", RETRIED)
def test_rejection_that_a_retry_overcomes_has_no_fix(message):
    assert Rejection.parse(message).fix is None


def test_rejection_of_a_pod_has_no_name_of_one_try():
    first, second = (
        Rejection.parse(f'pods "iris-{name}" is forbidden: violates PodSecurity "baseline:latest": hostPort.')
        for name in ("x2k4", "b7f9")
    )
    assert first == second
    assert first.message == 'violates PodSecurity "baseline:latest": hostPort'
