# SPDX-License-Identifier: Apache-2.0
"""Runs a model on several inputs and keeps its outputs, in a process of its own.

``python -m sgxlens.verification.outputs_runner FOLDER`` reads ``FOLDER/options.json``: those of
`sgxlens.recording.targets.onnx_runner`, and ``count``, how many inputs there are. Input *i* is
``FOLDER/in_i_j.npy``, with *j* in the order of ``inputs``; its outputs are ``FOLDER/out_i_j.npy``.
What goes wrong is in ``FOLDER/error.txt``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from sgxlens.recording.targets import onnx_runner


def main(folder: str) -> int:
    """Run the model; return the exit status."""
    options = json.loads(Path(folder, "options.json").read_text(encoding="ascii"))
    try:
        run = onnx_runner.runner(options)
        for number in range(options["count"]):
            feeds = {
                name: np.load(f"{folder}/in_{number}_{index}.npy", allow_pickle=False)
                for index, name in enumerate(options["inputs"])
            }
            for index, array in enumerate(run(feeds)):
                np.save(f"{folder}/out_{number}_{index}.npy", array, allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells the user
        Path(folder, "error.txt").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
