# SPDX-License-Identifier: Apache-2.0
import inspect

import pytest

from sgxlens import errors

ALL = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, Exception)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_be_caught_as_one(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.SgxlensError)


@pytest.mark.parametrize("kind", ALL)
def test_the_tree_in_the_docstring_is_complete(kind: type[Exception]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_message_is_one_line() -> None:
    assert errors.TargetError("model.onnx:\n  no such\tfile").message == "model.onnx: no such file"
