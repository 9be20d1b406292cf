# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
FROM scratch
COPY --chmod=755 kube-state-metrics /bin/kube-state-metrics
USER 65532:65532
ENTRYPOINT ["/bin/kube-state-metrics"]
