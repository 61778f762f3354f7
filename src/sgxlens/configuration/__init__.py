# SPDX-License-Identifier: Apache-2.0
"""Configuration of a runtime that follows from a recording.

It is not called ``manifest`` since `sgxlens.manifest` is the function.
"""

from sgxlens.configuration.manifest import Manifest, manifest

__all__ = ["Manifest", "manifest"]
