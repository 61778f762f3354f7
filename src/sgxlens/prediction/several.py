# SPDX-License-Identifier: Apache-2.0
"""Predictions of one recording on several platforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sgxlens.enclave.platform import platform_names
from sgxlens.enclave.runtime import Runtime, load_runtime
from sgxlens.errors import UsageError
from sgxlens.prediction.predict import DEFAULT_RUNTIME, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sgxlens.prediction.result import Prediction
    from sgxlens.recording.reader import Recording

Result = TypeVar("Result")


def predict_on(
    recording: Recording,
    platforms: Sequence[str],
    runtime: Runtime | str | None = None,
    **options: Any,
) -> tuple[list[Prediction], list[tuple[str, UsageError]]]:
    """What a recording would cost on each of `platforms`.

    Args:
        recording: the recording.
        platforms: names or files; none: all that come with sgxlens.
        runtime: the runtime, its name or its file; None: the default one.
        options: as `predict` takes them.

    Returns:
        The predictions, and of platforms that nobody named those that make no sense, with why.

    Raises:
        UsageError: an option makes no sense on any platform, or on one that is named.
        RecordingError: the recording is damaged, or lacks what a prediction needs.
    """
    # Read once: what is counted by its rules is kept with it.
    inside = runtime if isinstance(runtime, Runtime) else load_runtime(runtime or DEFAULT_RUNTIME)
    return on_each(platforms, lambda platform: predict(recording, platform, inside, **options))


def slowest(predictions: Sequence[Prediction]) -> int:
    """Which of at least one prediction is shown first: where it costs most, most can be learnt."""
    return max(range(len(predictions)), key=lambda i: predictions[i].steady.slowdown.likely)


def on_each(
    platforms: Sequence[str], make: Callable[[str], Result]
) -> tuple[list[Result], list[tuple[str, UsageError]]]:
    """What `make` makes of each of `platforms`.

    Args:
        platforms: names or files, each is taken once; none: all that come with sgxlens.
        make: called with each of them.

    Returns:
        The results, and of platforms that nobody named those that make no sense, with why.

    Raises:
        UsageError: it makes no sense on any platform, or on one that is named.
    """
    found, left_out = [], []
    for platform in dict.fromkeys(platforms) or platform_names():
        try:
            result = make(platform)
        except UsageError as error:
            if platforms:
                raise
            left_out.append((platform, error))
        else:
            found.append(result)
    if not found:
        raise left_out[0][1]
    return found, left_out
