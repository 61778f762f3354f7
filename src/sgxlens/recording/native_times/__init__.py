# SPDX-License-Identifier: Apache-2.0
"""Native times: how long the recorded program takes without the tracer, by phase and operator."""
