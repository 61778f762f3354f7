# SPDX-License-Identifier: Apache-2.0
"""The checks, one a file; see `sgxlens.configuration.linting.registry`."""
