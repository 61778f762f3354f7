# SPDX-License-Identifier: Apache-2.0
"""Recordings on disk: their format, writer and reader, and the session that makes one."""
