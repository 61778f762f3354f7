# SPDX-License-Identifier: Apache-2.0
"""Narrower weights: int8 in place of float32 makes a quarter of the pages and lines of them.

What an EPC of E loads of weights of W bytes beside other pages of R bytes, once the weights are a
quarter as large, is a quarter of what an EPC of 4 E - 3 R loads of them as they are: both hold the
same part of the weights beside all of the rest. That EPC is simulated. Page loads of the rest are
at least those of that simulation, and at most those of today. Lines of weights are a quarter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.attribution import has_attribution, operator_table
from sgxlens.enclave.quantities import Range
from sgxlens.recording.format import LINE_BYTES
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.situation import Situation
    from sgxlens.enclave.charges import Charge
    from sgxlens.enclave.platform import Platform

#: Bytes of a float32 for one of an int8.
_RATIO = 4
#: Operators whose weights dynamic quantisation makes int8, as ONNX Runtime and PyTorch call them.
#: `quantize_dynamic` of ONNX Runtime makes a Gemm a MatMul first; of FusedGemm and
#: FusedMatMul the model has Gemm and MatMul.
_DENSE = frozenset(
    {"Gemm", "FusedGemm", "MatMul", "FusedMatMul", "aten::linear", "aten::addmm", "aten::mm"}
)


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """int8 weights of fully connected layers, where paging or encryption of them costs."""
    if not has_attribution(situation.recording):
        return Declined("the recording does not say which memory holds weights")
    table = operator_table(situation.recording, situation.phase)
    dense = {
        row.operator.number: row.lines_by_role.get("weights", 0) * LINE_BYTES
        for row in table.rows
        if row.operator is not None and row.operator.type in _DENSE
    }
    weight_bytes = sum(dense.values())
    if not weight_bytes:
        return Declined("no fully connected layer reads weights that are not narrow already")
    after = _narrowed(situation, dense, weight_bytes)
    gain = situation.inference_gain(after)
    if not situation.is_worth(gain):
        return Declined(
            f"{format_bytes(weight_bytes)} of weights of fully connected layers add"
            " too little to an inference for narrower ones to pay"
        )
    mine = [c for c in situation.evaluation.steady if _is_dense(c, dense)]
    return (
        Advice(
            title="Quantise dense weights to int8",
            finding=(
                f"Fully connected layers read {format_bytes(weight_bytes)} of float32 weights in"
                " each inference; as int8 they are a quarter of the pages and lines."
            ),
            evidence=(
                Evidence(
                    "weights read by fully connected layers",
                    *(Range.exact(weight_bytes), "bytes"),
                    "sgxlens show --json: operators, lines by role",
                ),
                Evidence(
                    "page loads of these weights",
                    *(counted(c for c in mine if c.cause == "paging"), "count"),
                    "sgxlens predict --json: steady.operators",
                ),
                Evidence(
                    "line misses of these weights",
                    *(counted(c for c in mine if c.cause == "encryption"), "count"),
                    "sgxlens predict --json: steady.operators",
                ),
                *situation.operators("paging"),
            ),
            changes="model",
            gains=(gain,),
            costs=(
                Cost(
                    "accuracy",
                    "outputs deviate; by how much is not known until the quantised model is run:"
                    " compare outputs on your data before you use it",
                ),
            ),
            steps=_steps(situation),
            assumptions=(
                "Weights are float32 now.",
                "Natively an inference takes as long: faster with VNNI, else often slower.",
            ),
            modification=Modification(model=("int8-dynamic",)),
        ),
    )


RULE = Rule("narrower_weights", "weights that would be a quarter as large in int8", find)


def _is_dense(charge: Charge, dense: dict[int, int]) -> bool:
    return charge.role == "weights" and charge.operator in dense


def _narrowed(situation: Situation, dense: dict[int, int], weight_bytes: int) -> list[Charge]:
    """The charges of the steady inference with weights of `dense` operators a quarter as large."""
    epc = situation.prediction.epc
    rest = max(epc.footprint_bytes - weight_bytes, 0) + epc.reserved_bytes
    simulated = situation.again(platform=_equivalent(situation.platform, rest)).steady
    found: list[Charge] = []
    for charge in situation.evaluation.steady:
        if charge.cause == "encryption" and _is_dense(charge, dense):
            found.append(replace(charge, count=charge.count.scaled(1 / _RATIO)))
        elif charge.cause != "paging":
            found.append(charge)
    now = _by_place(situation.evaluation.steady)
    then = _by_place(simulated)
    for place, charge in now.items():
        other = then.get(place)
        least = Range.exact(0) if other is None else other.count
        count = charge.count
        if _is_dense(charge, dense):
            count = Range(
                min(least.low, count.low) / _RATIO,
                min(least.likely, count.likely) / _RATIO,
                min(least.high, count.high) / _RATIO,
            )
        else:
            likely = min(least.likely, count.likely)
            count = Range(min(least.low, count.low, likely), likely, count.high)
        found.append(replace(charge, count=count))
    return found


def _equivalent(platform: Platform, rest_bytes: int) -> Platform:
    """The platform with the EPC that holds the same part of wide weights, beside `rest_bytes`.

    It may be larger than that of any processor.
    """
    usable = platform.epc.usable_bytes

    def size(now: float) -> float:
        return max(_RATIO * now - (_RATIO - 1) * rest_bytes, now)

    wider = usable.model_copy(
        update={
            "low": size(usable.low), "likely": size(usable.likely), "high": size(usable.high)
        }
    )  # fmt: skip
    return platform.model_copy(
        update={"epc": platform.epc.model_copy(update={"usable_bytes": wider})}
    )


def _by_place(charges: Sequence[Charge]) -> dict[object, Charge]:
    return {(c.what, c.operator, c.role): c for c in charges if c.cause == "paging"}


def _steps(situation: Situation) -> tuple[Step, ...]:
    target = situation.recording.metadata.target
    platform = situation.platform.name
    if target.kind == "torch":
        return (
            Step(
                "Quantise the linear layers.",
                "python",
                "from torch.ao.quantization import quantize_dynamic\n"
                "model = quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)",
            ),
        )
    model = one_line(str(getattr(target, "model", "MODEL.onnx")))
    return (
        Step(
            "Quantise; a Gemm is made a MatMul first.",
            "python",
            "from onnxruntime.quantization import QuantType, quantize_dynamic\n"
            f"quantize_dynamic({model!r}, 'int8.onnx',\n"
            "    op_types_to_quantize=['MatMul'], weight_type=QuantType.QInt8)",
        ),
        Step(
            "Record it with the options of the first recording, and compare times and outputs.",
            "shell",
            "sgxlens record int8.onnx -o int8\n"
            f"sgxlens compare {situation.recording.path} int8 --platform {platform}",
        ),
    )
