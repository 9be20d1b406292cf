# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Scenarios on a real cluster: what a user does with the charts, and what every kind of client notices of it.

`python -m tests.e2e` brings the test cluster up, runs the scenarios and takes it down; with
`E2E_CLUSTER=current` they run on the cluster of the current context instead. They drive `helm`, `kubectl` and
`tidegate` as a user does, and look into nothing that a user of the cluster could not see.
"""
