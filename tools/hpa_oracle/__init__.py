# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The oracle of the autoscaler's algorithm: Kubernetes' own controller decides the same random scenarios."""
