# SPDX-License-Identifier: Apache-2.0
"""What can be recorded: a command, a Python script, an ONNX model."""
