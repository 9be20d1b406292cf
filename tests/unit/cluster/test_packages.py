# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tools.cluster import packages


def test_missing_ignores_other_states_than_installed() -> None:
    statuses = "runc installed\nnftables config-files\nruncible installed\n"
    assert packages.missing(("runc", "nftables", "buildah"), statuses) == ["nftables", "buildah"]
