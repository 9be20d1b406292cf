# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every estimator of scikit-learn that predicts, on several kinds of data: fitted, bundled and served."""
