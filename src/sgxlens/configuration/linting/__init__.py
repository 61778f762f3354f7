# SPDX-License-Identifier: Apache-2.0
"""Reads a user's configuration of a runtime, and says what its schema cannot.

It is not called ``lint`` since `sgxlens.lint` is the function.
"""

from sgxlens.configuration.linting.finding import Finding, Severity
from sgxlens.configuration.linting.lint import LintReport, lint
from sgxlens.configuration.linting.registry import Check
from sgxlens.configuration.linting.subject import Subject

__all__ = ["Check", "Finding", "LintReport", "Severity", "Subject", "lint"]
