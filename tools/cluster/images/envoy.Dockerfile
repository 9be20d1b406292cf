# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# Envoy is linked against glibc, so its libraries come along.
FROM scratch
COPY root /
COPY --chmod=755 envoy /usr/local/bin/envoy
COPY --chmod=1777 tmp /tmp
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["envoy"]
