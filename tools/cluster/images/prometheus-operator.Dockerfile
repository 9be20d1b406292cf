# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
FROM scratch
COPY --chmod=755 prometheus-operator /bin/prometheus-operator
USER 65532:65532
ENTRYPOINT ["/bin/prometheus-operator"]
