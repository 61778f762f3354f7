# SPDX-License-Identifier: Apache-2.0
"""Which operators ran when: by ONNX Runtime's profile, or by what the program said."""

from sgxlens.recording.operators.profile import Profile, ProfileError, read_profile
from sgxlens.recording.operators.table import (
    BACKGROUND_CALLS,
    Operators,
    ProcessEvents,
    operator_at,
    operators_of,
)

__all__ = [
    "BACKGROUND_CALLS",
    "Operators",
    "ProcessEvents",
    "Profile",
    "ProfileError",
    "operator_at",
    "operators_of",
    "read_profile",
]
