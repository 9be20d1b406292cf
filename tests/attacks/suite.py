# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""All attacks by name."""

from tests.attacks import archives, bundles, objects, signatures
from tests.attacks.attack import collected

ATTACKS = collected(bundles.ATTACKS, archives.ATTACKS, objects.ATTACKS, signatures.ATTACKS)
