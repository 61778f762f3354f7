# SPDX-License-Identifier: Apache-2.0
"""Reports of a recording: plain data first, then one renderer a format."""
