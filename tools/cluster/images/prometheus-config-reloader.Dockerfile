# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
FROM scratch
COPY --chmod=755 prometheus-config-reloader /bin/prometheus-config-reloader
USER 65532:65532
ENTRYPOINT ["/bin/prometheus-config-reloader"]
