# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of Tidegate's server, its peers and the ceilings of HTTP, on one core each.

Everything is measured from outside, except the stages of a request. Servers start as their documentation
says, each in an environment of its own. Load generators are programs that know none of the servers.
"""
