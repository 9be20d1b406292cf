# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
