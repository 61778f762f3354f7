# SPDX-License-Identifier: Apache-2.0
"""Recordings and predictions in the formats of other programs."""
