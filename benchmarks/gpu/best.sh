#!/usr/bin/env bash
# Train fold 0 of `best` where there is a large GPU; the same call goes on where it was cut off.
#
#   benchmarks/gpu/best.sh DATA FOLDS [train.py's further arguments]
#
# PYTHON names a Python with the requirements (TensorFlow left out where KERAS_BACKEND says jax or torch), RUNS
# the folder to write to. TINY=1 shrinks it to what a CPU trains in a minute: does the script still work?
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
data=${1:?DATA: a folder of the competition\'s form}
folds=${2:?FOLDS: a fold table}
shift 2
tiny=()
if [[ -n ${TINY:-} ]]; then
    tiny=(--set width=4 --set depth=3 --set warm_up=4)
    for stage in 0 1 2; do
        tiny+=(--set "stages.$stage.size=[$((32 << stage)), $((48 << stage))]" --set "stages.$stage.epochs=1")
    done
fi
exec "$python" "$here/src/train.py" --recipe best --data "$data" --folds "$folds" --fold 0 \
    --runs "${RUNS:-$here/runs/gpu}" "${tiny[@]}" "$@"
