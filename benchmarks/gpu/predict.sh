#!/usr/bin/env bash
# Measure prediction with the recipe `single` (5 folds, flips, 768x512, without refinement) on this GPU: photos per
# second, GPU utilization and hours for the test set.
#
#   benchmarks/gpu/predict.sh DATA [ensemble.py's further arguments]
#
# PYTHON: a Python with the requirements and this project installed (TensorFlow is not needed where KERAS_BACKEND is jax
# or torch). TINY=1: a check of this script that runs in a minute on a CPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
data=${1:?DATA: a folder of the competition\'s form}
shift
tiny=()
if [[ -n ${TINY:-} ]]; then
    tiny=(--folds 2 --photos 64 --set precision=float32 --set "stages=[{size=[64, 96], epochs=1, batch_size=1, learning_rate=1e-3}]")
fi
exec "$python" "$here/benchmarks/ensemble.py" --data "$data" "${tiny[@]}" "$@"
