# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Code inside the Locust process. Importing a module replaces the standard library's sockets.

Only the locustfile imports these modules. In them ``import locust`` means the library, because imports are
absolute. Locust puts this folder on ``sys.path`` while it loads the locustfile, so no module here may have
the name ``locust``.
"""
