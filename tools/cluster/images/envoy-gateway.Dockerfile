# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# The chart and the shutdown manager call it by its bare name.
FROM scratch
COPY --chmod=755 envoy-gateway /usr/local/bin/envoy-gateway
COPY --chmod=1777 tmp /tmp
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["envoy-gateway"]
