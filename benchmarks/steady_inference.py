# SPDX-License-Identifier: Apache-2.0
"""The program that is timed: inferences of one model, one thread, each timed by itself.

usage: steady_inference.py MODEL.onnx RUNS RESULT.json
"""

import json
import sys
import time

import numpy as np
import onnxruntime

from sgxlens import mark


def main(model: str, runs: int, result: str) -> None:
    """Run the model `runs` times after two that do not count; write the seconds of each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feeds = {
        node.name: generator.random(
            [size if isinstance(size, int) else 1 for size in node.shape], dtype=np.float32
        )
        for node in session.get_inputs()
    }
    for _ in range(2):
        session.run(None, feeds)
    seconds = []
    for number in range(runs):
        mark(f"inference {number + 1}")
        start = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - start)
    mark("end")
    with open(result, "w", encoding="ascii") as file:
        json.dump(seconds, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
