# SPDX-License-Identifier: Apache-2.0
"""Reads configuration files of runtimes, with the line of each value."""
