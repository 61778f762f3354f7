# SPDX-License-Identifier: Apache-2.0
"""Holds predictions against published measurements: ``make validate``, ``docs/validation.md``."""
