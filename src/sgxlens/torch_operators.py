# SPDX-License-Identifier: Apache-2.0
"""Annotates what a PyTorch model does; `sgxlens.torch` is its public face.

All Python code here runs between the operators: an operator's annotation is the last that is done
before PyTorch runs it, its end the first afterwards.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from sgxlens import annotation
from sgxlens._native import annotate
from sgxlens.torch_memory import Memory, Range, address_of, extent_of, storage_of

Annotate = Callable[[int, int, int, str], object]

TEXT_BYTES_MAX = 8000
_TEXTS_MAX = 10_000  # kept for the next time
_WEIGHTS = "weights:"
_ACTIVATIONS = "activations:"


class Annotator:
    """Annotates the operators of one model."""

    def __init__(self, model: Any, annotate: Annotate = annotate) -> None:
        self._root_name = type(model).__name__
        self._root = ref(model)  # which must be free to go
        self._root_depth = 0  # of calls of the model inside each other
        self._annotate = annotate
        self._memory = Memory(annotate)
        self._weights: dict[int, str] = {}  # by address of the tensor, and of its storage
        self._modules: dict[int, str] = {}
        self._path: list[tuple[int, str]] = []  # of modules that run: id, name
        self._texts: dict[Any, str] = {}
        self._thread = 0
        try:
            self._input_names = list(inspect.signature(model.forward).parameters)
        except (TypeError, ValueError):  # of a compiled module, which has none
            self._input_names = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Annotate what runs inside."""
        model = self._root()
        if model is None or self._thread != 0:  # gone, or inside another of these
            yield
            return
        self._modules = {
            id(module): name or self._root_name for name, module in model.named_modules()
        }
        self._declare_weights(model)
        self._path = [(0, self._root_name)]
        self._root_depth = 0
        self._thread = threading.get_ident()
        # Not hooks of the modules themselves: some of PyTorch's take a slower way if they have any.
        hooks = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        try:
            with _Mode(self):
                yield
        finally:
            self._thread = 0
            for hook in hooks:
                hook.remove()

    def declare_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Annotate tensors that the model is to be called with, by their names."""
        for name, value in inputs.items():
            for part, tensor in tensors_in(value, name):
                self._declare_input(tensor, part)

    def _declare_input(self, tensor: Any, name: str) -> None:
        storage = storage_of(tensor)
        if storage is not None and storage.data_ptr() not in self._memory.places:
            self._memory.add(storage, f"input:{name}")

    def _declare_weights(self, model: Any) -> None:
        self._weights = {}
        fresh = set()
        for name, tensor in _tensors_held(model):
            storage = storage_of(tensor)
            if storage is None:
                continue
            start = storage.data_ptr()
            if start not in self._memory.places:
                self._memory.keep(storage, Range(start, storage.nbytes(), _WEIGHTS))
                fresh.add(start)
            address, size_bytes = extent_of(tensor)
            # Tied weights have the name that comes first.
            if start in fresh and address not in self._weights:
                self._annotate(annotation.REGION, address, size_bytes, f"{_WEIGHTS}{name}")
            self._weights.setdefault(address, name)
            self._weights.setdefault(start, name)

    # ---- modules ----

    def _enter(self, module: Any, arguments: tuple[Any, ...]) -> None:
        name = self._modules.get(id(module))
        if name is None or threading.get_ident() != self._thread:
            return
        self._path.append((id(module), name))
        if module is self._root():
            self._root_depth += 1
            if self._root_depth == 1:
                more = map(str, range(len(self._input_names), len(arguments)))
                names = [*self._input_names, *more]
                self.declare_inputs(dict(zip(names, arguments, strict=False)))

    def _leave(self, module: Any, _: Any, result: Any) -> None:
        if self._path[-1][0] != id(module) or threading.get_ident() != self._thread:
            return
        self._path.pop()
        if module is self._root():
            self._root_depth -= 1
            if self._root_depth == 0:
                for part, tensor in tensors_in(result, ""):
                    self._declare_output(address_of(tensor), part or "0")

    def _declare_output(self, address: int, name: str) -> None:
        known = self._memory.places.get(address)
        if known is None or not known.text.startswith(_ACTIVATIONS):
            return
        self._memory.rename(known._replace(text=f"output:{name}"))

    # ---- operators ----

    def run(self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Run an operator, annotated."""
        module = self._path[-1][1]
        annotate = self._annotate
        text = self._text_before(function, module, arguments, keywords)
        annotate(annotation.OPERATOR_BEGIN, 0, 0, text)
        try:
            result = function(*arguments, **keywords)
        except BaseException:
            annotate(annotation.OPERATOR_END, 0, 0, "")
            self._note_results(function, module, ())
            raise
        annotate(annotation.OPERATOR_END, 0, 0, "")
        self._note_results(function, module, result)
        return result

    def _text_before(
        self, function: Any, module: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> str:
        places = self._memory.places
        tensors: list[Any] = []
        _collect(arguments, tensors)
        if keywords:
            _collect(tuple(keywords.values()), tensors)
        key: list[Any] = [function, module]
        for tensor in tensors:
            known = places.get(address_of(tensor))
            if known is None:
                self._declare_input(tensor, f"{module}.{_label(function, arguments, tensor)}")
                weight = None
            elif known.text == _WEIGHTS:
                weight = self._weights.get(tensor.data_ptr()) or self._weights[known.address]
            else:
                weight = None
            key += tensor.dtype, tensor.shape, weight
        found = tuple(key)
        text = self._texts.get(found)
        return self._keep_text(found, _begin_text(found, tensors)) if text is None else text

    def _keep_text(self, key: Any, text: str) -> str:
        if len(self._texts) >= _TEXTS_MAX:  # of shapes that never come again
            self._texts.clear()
        self._texts[key] = text
        return text

    def _note_results(self, function: Any, module: str, result: Any) -> None:
        places = self._memory.places
        tensors: list[Any] = []
        _collect((result,), tensors)
        key: list[Any] = [function]
        made: dict[int, Any] = {}
        for tensor in tensors:
            address = address_of(tensor)
            if address not in places:
                made[address] = tensor
            key += tensor.dtype, tensor.shape, address in made
        for tensor in made.values():
            storage = storage_of(tensor)
            if storage is not None:
                kind = _schema(function).name.rpartition(":")[2]
                self._memory.add(storage, f"{_ACTIVATIONS}{module} {kind}")
        found = tuple(key)
        text = self._texts.get(found)
        if text is None:
            text = self._keep_text(found, _note_text(found, tensors))
        self._annotate(annotation.OPERATOR_NOTE, 0, 0, text)


class _Dispatch:
    """Holds the method that PyTorch calls.

    Not `_Mode` itself: from the class that defines it PyTorch hides the method behind its compiler,
    whose import alone is more work than most inferences.
    """

    def __init__(self, annotator: Annotator) -> None:
        super().__init__()
        self._run = annotator.run

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._run(func, args, kwargs or {})


class _Mode(_Dispatch, TorchDispatchMode):  # type: ignore[misc] # of a package without types
    pass


_annotators: WeakKeyDictionary[Any, Annotator] = WeakKeyDictionary()


def annotator_of(model: Any) -> Annotator:
    """The annotator of a model, which knows what its inferences before did."""
    annotator = _annotators.get(model)
    if annotator is None:
        annotator = _annotators[model] = Annotator(model)
    return annotator


def _tensors_held(model: Any) -> Iterator[tuple[str, Any]]:
    """Parameters, buffers and what else is a tensor and an attribute of a module."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}" if path else name, value


def tensors_in(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors of nested sequences and mappings, each with its place among them."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from tensors_in(item, f"{name}.{number}" if name else str(number))


def _collect(values: Iterable[Any], found: list[Any]) -> None:
    """The tensors among the arguments or results of an operator."""
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            _collect(value, found)


def _schema(function: Any) -> Any:
    return function._schema  # noqa: SLF001 - PyTorch's own tools use it, too


def _label(function: Any, arguments: tuple[Any, ...], wanted: Any) -> str:
    """What the operator calls an argument."""
    for argument, value in zip(_schema(function).arguments, arguments, strict=False):
        for label, tensor in tensors_in(value, argument.name):
            if tensor is wanted:
                return label
    return "input"


def _begin_text(key: tuple[Any, ...], tensors: Sequence[Any]) -> str:
    function, module, *described = key
    weights = described[2::3]
    facts = {
        "name": module,
        "type": _schema(function).name,
        "parameter_bytes": sum(
            _size_bytes(tensor) for tensor, weight in zip(tensors, weights, strict=True) if weight
        ),
        "activation_bytes": sum(
            _size_bytes(tensor)
            for tensor, weight in zip(tensors, weights, strict=True)
            if not weight
        ),
        "source": "torch",
    }
    inputs = [
        {**_described(tensor), **({"name": weight} if weight else {})}
        for tensor, weight in zip(tensors, weights, strict=True)
    ]
    return _json(facts, "inputs", inputs)


def _note_text(key: tuple[Any, ...], tensors: Sequence[Any]) -> str:
    # A view of an input is no memory of its own, and what is written in place is.
    function, *described = key
    writes = _schema(function).is_mutable
    size_bytes = sum(
        _size_bytes(tensor)
        for tensor, is_new in zip(tensors, described[2::3], strict=True)
        if is_new or writes
    )
    return _json({"output_bytes": size_bytes}, "outputs", [_described(t) for t in tensors])


def _size_bytes(tensor: Any) -> int:
    """Size of a tensor's elements, each counted once where an expanded tensor repeats them."""
    size_bytes = int(tensor.numel() * tensor.element_size())
    storage = storage_of(tensor)
    return size_bytes if storage is None else min(size_bytes, int(storage.nbytes()))


def _described(tensor: Any) -> dict[str, Any]:
    return {"type": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _json(facts: dict[str, Any], name: str, tensors: list[dict[str, Any]]) -> str:
    """The facts as JSON, with the tensors unless there are too many for a text."""
    text = json.dumps({**facts, name: tensors})
    return text if len(text) <= TEXT_BYTES_MAX else json.dumps(facts)
