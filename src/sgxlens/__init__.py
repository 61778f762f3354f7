# SPDX-License-Identifier: Apache-2.0
"""What an AI inference process would cost inside an Intel SGX enclave, measured without SGX."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Public name: the module that owns it. Loaded when first asked for, so that `import sgxlens`
# brings in neither numpy nor pyarrow.
_OWNERS = {
    "advise": "sgxlens.advice.advise",
    "Advisory": "sgxlens.advice.advise",
    "compare": "sgxlens.comparison.compare",
    "Comparison": "sgxlens.comparison.model",
    "MissRatioCurve": "sgxlens.reuse.curves",
    "Recording": "sgxlens.recording.reader",
    "ReuseHistogram": "sgxlens.reuse.histogram",
    "estimate_miss_ratio": "sgxlens.reuse.sampling",
    "lint": "sgxlens.configuration.linting.lint",
    "LintReport": "sgxlens.configuration.linting.lint",
    "Manifest": "sgxlens.configuration.manifest",
    "manifest": "sgxlens.configuration.manifest",
    "mark": "sgxlens._native",
    "miss_ratio_curve": "sgxlens.reuse.curves",
    "operator": "sgxlens.annotation",
    "Optimization": "sgxlens.optimization.result",
    "optimize": "sgxlens.optimization.optimize",
    "predict": "sgxlens.prediction.predict",
    "Prediction": "sgxlens.prediction.result",
    "record": "sgxlens.recording.api",
    "region": "sgxlens.annotation",
    "region_end": "sgxlens.annotation",
    "replay": "sgxlens.recording.record",
    "RecordingError": "sgxlens.errors",
    "SgxlensError": "sgxlens.errors",
    "StreamError": "sgxlens.errors",
    "TargetError": "sgxlens.errors",
    "TracerError": "sgxlens.errors",
    "UsageError": "sgxlens.errors",
}

__all__ = [*sorted(_OWNERS), "__version__", "open"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "open":  # its name where it is defined hides no built-in
        from sgxlens.recording.reader import open_recording

        return open_recording
    if name == "__version__":
        from importlib.metadata import version

        return version("sgxlens")
    if name == "torch":  # a module: not in __all__, where it would hide PyTorch itself
        return import_module("sgxlens.torch")
    owner = _OWNERS.get(name)
    if owner is None:
        msg = f"module 'sgxlens' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(owner), name)


def __dir__() -> list[str]:
    return sorted(__all__)
