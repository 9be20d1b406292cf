# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# Holds a pod's namespaces and does nothing.
FROM scratch
COPY --chmod=755 busybox /bin/busybox
ENTRYPOINT ["/bin/busybox", "tail", "-f", "/dev/null"]
