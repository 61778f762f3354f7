# SPDX-License-Identifier: Apache-2.0
"""Reuse-distance histograms and the miss-ratio curves that follow from them."""
