# SPDX-License-Identifier: Apache-2.0
"""What changed between recordings: before and after a change, two models, two batch sizes.

`sgxlens.compare` is `sgxlens.comparison.compare.compare`. Nothing is imported here: reports of one
recording take words from this package, and not the rest of it.
"""
