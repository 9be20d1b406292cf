# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The one error of this package, for operations that failed.

Its message is complete for the user: the operation, the reason and the fix. The command line prints it
without a traceback.
"""


class ClusterError(Exception):
    """Error of the test cluster: a requirement is missing, an operation failed or timed out."""
