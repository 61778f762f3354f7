# SPDX-License-Identifier: Apache-2.0
"""Tells a recording what PyTorch does: which operator runs, and what its tensors' memory holds.

PyTorch itself is imported when `operators` is used, not before.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sgxlens._native import annotate
from sgxlens.annotation import REGION_END

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["operators"]


@contextmanager
def operators(model: Any) -> Iterator[None]:
    """Make the operators and tensors of `model` known to the recording, if one runs.

    Inside, each call of an operator that reaches PyTorch's dispatcher from this thread is an
    operator of the recording, with the path of the module that makes it. What the operator calls in
    turn is part of it. Under ``torch.inference_mode`` these are the outermost calls that PyTorch's
    profiler lists (``aten::conv2d``, ``aten::linear``); with gradients, or without them under
    ``torch.no_grad``, PyTorch has decomposed some of them before (``aten::addmm``).

    Parameters, buffers and other tensors that modules hold are weights; what `model` is called
    with are inputs, what it returns outputs; what operators make in between are activations until
    PyTorch frees it. Where results lie is known when their operator has ended: until then, so for
    the operator's own writes to them, the memory is what it was before. The allocator puts them
    elsewhere in each inference, so that those before do not tell.

    Args:
        model: a ``torch.nn.Module``. It may be used several times, inside one or many of these.

    Raises:
        TypeError: `model` is no module.
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        msg = f"a model is a torch.nn.Module, not {type(model).__name__}"
        raise TypeError(msg)
    # About no memory at all: the answer tells whether somebody listens.
    if not annotate(REGION_END, 0, 0, ""):
        yield
        return
    from sgxlens.torch_operators import annotator_of

    with annotator_of(model).listening():
        yield
