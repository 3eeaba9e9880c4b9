#!/usr/bin/env bash
# Prediction by `single`, 5 folds x flip at 1024x1536, on this GPU: photos a second, busy share, hours for the test set.
#
#   benchmarks/gpu/predict.sh DATA [ensemble.py's further arguments]
#
# PYTHON names a Python with the requirements and this project installed (TensorFlow left out where KERAS_BACKEND says
# jax or torch). TINY=1 shrinks it to what a CPU does in a minute: does the script still work?
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
data=${1:?DATA: a folder of the competition\'s form}
shift
tiny=()
if [[ -n ${TINY:-} ]]; then
    tiny=(--folds 2 --photos 64 --set precision=float32 --set "stages=[{size=[64, 96], epochs=1, batch=1, rate=1e-3}]")
fi
exec "$python" "$here/benchmarks/ensemble.py" --data "$data" "${tiny[@]}" "$@"
