# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: Tidegate's server beside its peers and beside the ceilings of HTTP, on one core each.

Everything is measured from outside: servers are started as their users start them, each in an environment of
its own, and generators are programs that know none of them.
"""
