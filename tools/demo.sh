#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Records SqueezeNet, which comes inside the onnx package, shows what was recorded, and predicts
# what it would cost inside an enclave.
set -euo pipefail
cd "$(dirname "$0")/.."

recording=demo-recording
report=demo-report.html
model=$(.venv/bin/python -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("onnx").origin).parent
      / "backend/test/data/light/light_squeezenet.onnx")')

run() {
    echo "\$ $*"
    "$@"
}

export PATH="$PWD/.venv/bin:$PATH"
run sgxlens record "$model" --force -o "$recording"
echo
run sgxlens show "$recording"
echo
run sgxlens predict "$recording"
echo
run sgxlens report "$recording" -o "$report"
echo
echo "The recording is in $PWD/$recording; predict another machine with:
.venv/bin/sgxlens predict $recording --platform NAME

The report is $PWD/$report: open it in a browser."
