# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The search for an algorithm and its parameters: trials, their storage, and nested cross-validation.

Optuna draws the parameters of a trial and decides whether to prune it. A trial depends on the configuration,
the data and the finished trials of its shard alone, so the result is the same wherever the trials run.
"""
