# SPDX-License-Identifier: Apache-2.0
"""Composes what an enclave costs into times, each with a low, a likely and a high value.

It is not called ``predict`` since `sgxlens.predict` is the function.
"""

from sgxlens.prediction.predict import predict
from sgxlens.prediction.result import Prediction

__all__ = ["Prediction", "predict"]
