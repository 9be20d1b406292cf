# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Code that runs inside Locust's process. Importing it replaces sockets by gevent's."""
