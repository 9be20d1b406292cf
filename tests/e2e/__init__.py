# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Scenarios on a real cluster: operations on the charts, and their effect on each kind of client.

`python -m tests.e2e` starts the test cluster, runs the scenarios and removes the cluster; with
`E2E_CLUSTER=current` they run on the cluster of the current context instead. They use `helm`, `kubectl` and
`tidegate` as a user does, and read only the state that a user of the cluster can read.
"""
