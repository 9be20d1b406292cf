# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# The manifest starts /keda-adapter, and asks for a user that is not root.
FROM scratch
COPY --chmod=755 keda-adapter /keda-adapter
USER 65532:65532
ENTRYPOINT ["/keda-adapter"]
