# SPDX-License-Identifier: Apache-2.0
"""Batching: weights that are reused only by the next inference are brought in once for a batch.

What a sample of a batch of B costs follows from the charges of one inference:

- page loads and line misses of weights are those of one inference, shared by B samples; of the
  lines it is not certain, since an operator may go through its weights anew for each sample;
- so are page loads of code, of the runtime and of stacks;
- page loads of what each sample has of its own (activations, input, output, scratch) are at least
  those of one inference. If B samples no longer fit the EPC they are likely one load of each such
  page, at most one in each operator that uses it;
- all else is as in one inference, the native time too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sgxlens.advice.advice import Advice, Cost, Declined, Evidence, Gain, Step
from sgxlens.advice.modification import Modification
from sgxlens.advice.registry import Rule
from sgxlens.advice.situation import counted
from sgxlens.attribution import has_attribution, operator_table, region_table
from sgxlens.comparison.comparable import sample_count
from sgxlens.enclave.charges import Charge
from sgxlens.enclave.quantities import Range
from sgxlens.prediction.ranges import added_seconds, difference_seconds
from sgxlens.recording.format import LINE_BYTES, PAGE_BYTES
from sgxlens.text import one_line
from sgxlens.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgxlens.advice.situation import Situation

_BATCHES = (2, 4, 8, 16)
#: A smaller batch will do that has this share of the gain of the largest.
_ENOUGH = 0.95
#: Roles of memory that each sample of a batch has of its own.
_OF_SAMPLES = ("activations", "input", "output", "scratch")
_LINES_PER_PAGE = PAGE_BYTES // LINE_BYTES
_DYNAMIC_BATCH = """\
import onnx
from onnx import numpy_helper
model = onnx.load(MODEL)
constants = {constant.name: constant for constant in model.graph.initializer}
for value in (*model.graph.input, *model.graph.output):
    if value.name not in constants:
        value.type.tensor_type.shape.dim[0].dim_param = 'batch'
for node in model.graph.node:
    if node.op_type == 'Reshape' and node.input[1] in constants:
        shape = numpy_helper.to_array(constants[node.input[1]]).copy()
        shape[0] = 0
        constants[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
onnx.save(model, 'dynamic.onnx')"""


def find(situation: Situation) -> tuple[Advice, ...] | Declined:
    """A batch, where weights are brought in again by every inference."""
    if not has_attribution(situation.recording):
        return Declined("the recording does not say which memory holds weights")
    before = situation.evaluation.steady
    weights = [c for c in before if c.role == "weights" and c.cause in ("paging", "encryption")]
    if not weights:
        return Declined("no inference brings weights into the EPC or the last-level cache again")
    gains = {batch: _gain(situation, batch) for batch in _BATCHES}
    most = gains[_BATCHES[-1]]
    if not situation.is_worth(most):
        return Declined(
            f"bringing in weights adds {situation.of_inference(added_seconds(weights).likely):.1%}"
            " of an inference: sharing it among samples saves next to nothing"
        )
    batch = next(b for b in _BATCHES if gains[b].saved.likely >= _ENOUGH * most.saved.likely)
    loads = counted(c for c in weights if c.cause == "paging")
    lines = counted(c for c in weights if c.cause == "encryption")
    brought = loads.likely * PAGE_BYTES or lines.likely * LINE_BYTES
    recorded = sample_count(situation.recording.metadata)
    known = f"{recorded} samples" if recorded and recorded > 1 else "one sample"
    return (
        Advice(
            title=f"Batch {batch * (recorded or 1)} samples in one inference",
            finding=(
                f"Each inference, of {known}, brings in {format_bytes(brought)}"
                " of weights that are reused only by the inference after it: a batch shares them."
            ),
            evidence=(
                Evidence(
                    "page loads of weights in one inference",
                    *(loads, "count", "sgxlens predict --json: steady.roles"),
                ),
                Evidence(
                    "lines of weights that miss the last-level cache in one inference",
                    *(lines, "count", "sgxlens predict --json: steady.roles"),
                ),
                *_reuse(situation),
                *situation.operators("paging"),
                *(
                    Evidence(
                        f"time of a sample in a batch of {b} times as many",
                        *(gains[b].after, "seconds", "sgxlens advise: computed from the charges"),
                    )
                    for b in _BATCHES
                ),
            ),
            changes="program",
            gains=(gains[batch],),
            costs=(
                Cost("latency", f"a result is there when all {batch} are: some {batch} times the"
                     " time of a sample, and the wait until so many have come"),
                Cost("memory", f"activations, inputs and outputs of {batch} samples"
                     f" ({format_bytes(_own_bytes(situation) * batch)} in place of"
                     f" {format_bytes(_own_bytes(situation))})"),
            ),
            steps=_steps(situation, batch * (recorded or 1)),
            assumptions=(
                "An operator reads its weights once for the whole batch, as dense layers do.",
                "Natively a sample takes as long in a batch as alone; most libraries are faster.",
                "The model takes a batch: its first dimension is dynamic, or it is exported anew.",
            ),
            modification=Modification(batch=batch * (recorded or 1), model=("dynamic-batch",)),
        ),
    )  # fmt: skip


RULE = Rule("batching", "weights that only the next inference reuses", find)


def _gain(situation: Situation, batch: int) -> Gain:
    """What each sample gains in a batch of `batch` times as many."""
    before = situation.evaluation.steady
    after = batched(before, batch, _own_pages(situation, batch))
    steady = situation.prediction.steady
    native = steady.native.median_seconds
    added = added_seconds(after)
    share = 1 / (sample_count(situation.recording.metadata) or 1)
    return Gain(
        of="sample",
        before=steady.sgx_seconds.scaled(share),
        after=Range(native + added.low, native + added.likely, native + added.high).scaled(share),
        saved=difference_seconds(after, before).scaled(share),
    )


def batched(charges: Sequence[Charge], batch: int, own_pages: Range | None) -> list[Charge]:
    """The charges of a sample in a batch; `own_pages` as of `_own_pages`."""
    found: list[Charge] = []
    own: list[Charge] = []
    for charge in charges:
        count = charge.count
        if charge.cause == "paging" and charge.role in _OF_SAMPLES and own_pages is not None:
            own.append(charge)
        elif charge.cause == "paging" and charge.role not in (None, *_OF_SAMPLES):
            found.append(replace(charge, count=count.scaled(1 / batch)))
        elif charge.cause == "encryption" and charge.role == "weights":
            shared = Range(count.low / batch, count.likely / batch, count.high)
            found.append(replace(charge, count=shared))
        else:
            found.append(charge)
    if own_pages is not None:
        paging = next((c.constant for c in charges if c.cause == "paging"), None)
        now = counted(own)
        if paging is not None:
            likely = max(now.likely, own_pages.likely)
            most = max(now.high, own_pages.high, likely)
            count = Range(min(now.low, likely), likely, most)
            found.append(Charge("paging", "page loads of a batch", paging, count))
    return found


def _own_pages(situation: Situation, batch: int) -> Range | None:
    """Pages that a sample of a batch likely loads, and at most; None: all samples fit."""
    epc = situation.prediction.epc
    own = _own_bytes(situation)
    if epc.footprint_bytes + (batch - 1) * own + epc.reserved_bytes <= (
        situation.platform.epc.usable_bytes.low
    ):
        return None
    table = operator_table(situation.recording, situation.phase)
    uses = sum(
        row.lines_by_role.get(role, 0)
        for row in (*table.rows, table.between)
        for role in _OF_SAMPLES
    )
    pages = own / PAGE_BYTES
    return Range(0, pages, max(pages, uses / _LINES_PER_PAGE))


def _own_bytes(situation: Situation) -> int:
    """Size of the pages that each sample has of its own."""
    roles = region_table(situation.recording, situation.phase).roles
    return sum(row.page.footprint_bytes for row in roles if row.role in _OF_SAMPLES)


def _reuse(situation: Situation) -> list[Evidence]:
    """Where the weights were used before."""
    roles = region_table(situation.recording, situation.phase).roles
    weights = next((row for row in roles if row.role == "weights"), None)
    if weights is None:
        return []
    before = ("previous_inference", "warm_up", "load")
    count = sum(weights.line.by_source[source] for source in before)
    return [
        Evidence(
            "accesses to lines of weights that nothing in the same inference used before",
            *(Range.exact(count), "count", "sgxlens show --json: regions, by source"),
        )
    ]


def _steps(situation: Situation, samples: int) -> tuple[Step, ...]:
    target = situation.recording.metadata.target
    if target.kind == "torch":
        return (
            Step(
                f"Collect {samples} requests, and run them together.",
                "python",
                "with torch.inference_mode():\n    outputs = model(torch.stack(samples))",
            ),
        )
    if target.kind != "onnx":
        return (Step(f"Collect requests, and run {samples} samples as one inference."),)
    model = one_line(str(getattr(target, "model", "MODEL.onnx")))
    inputs = getattr(target, "inputs", None) or [{"name": "INPUT"}]
    name = str(inputs[0].get("name", "INPUT"))
    return (
        Step(
            f"Collect {samples} requests, and run them together.",
            "python",
            f"outputs = session.run(None, {{{name!r}: numpy.stack(samples)}})",
        ),
        Step(
            "If the first dimension of the model is fixed, make it dynamic, and let Reshape take it"
            " from its input.",
            "python",
            _DYNAMIC_BATCH.replace("MODEL", repr(model)),
        ),
        Step(
            "Record it so, and compare.",
            "shell",
            f"sgxlens record dynamic.onnx --batch {samples} -o batch{samples}\n"
            f"sgxlens compare {situation.recording.path} batch{samples}"
            f" --platform {situation.platform.name}",
        ),
    )
