# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC over HTTP/2 on the event loop of REST, without a thread and a task per call.

``frames``, ``huffman``, ``hpack`` and ``headers`` are pure. ``connection`` is HTTP/2 without gRPC, ``calls``
is gRPC without HTTP/2's frames, and ``server`` listens.
"""
