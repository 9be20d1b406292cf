# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# The manifest starts /keda, and asks for a user that is not root.
FROM scratch
COPY --chmod=755 keda /keda
USER 65532:65532
ENTRYPOINT ["/keda"]
