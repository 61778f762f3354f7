# SPDX-License-Identifier: Apache-2.0
"""Composes what an enclave costs into times, each with a low, a likely and a high value."""
