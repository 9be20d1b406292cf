# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# The manifest starts /keda-admission-webhooks, and asks for a user that is not root.
FROM scratch
COPY --chmod=755 keda-admission-webhooks /keda-admission-webhooks
USER 65532:65532
ENTRYPOINT ["/keda-admission-webhooks"]
