# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
# The manifest starts /manager, and asks for a numeric user that is not root.
FROM scratch
COPY --chmod=755 kserve-manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
