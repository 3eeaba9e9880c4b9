#!/usr/bin/env bash
# Train fold 0 of the recipe `best` on one large GPU. The same call continues a training that was interrupted.
#
#   benchmarks/gpu/best.sh DATA FOLDS [train.py's further arguments]
#
# PYTHON: a Python with the requirements and this project installed (TensorFlow is not needed where KERAS_BACKEND is jax
# or torch). RUNS: the folder to write to. TINY=1: a check of this script that trains in a minute on a CPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
data=${1:?DATA: a folder of the competition\'s form}
folds=${2:?FOLDS: a fold table}
shift 2
tiny=()
if [[ -n ${TINY:-} ]]; then
    tiny=(--set base_filters=4 --set depth=3 --set warmup_steps=4)
    tiny+=(--set refine.base_filters=4 --set refine.epochs=1 --set refine.patches_per_photo=4)
    for stage in 0 1; do
        tiny+=(--set "stages.$stage.size=[$((32 << stage)), $((48 << stage))]" --set "stages.$stage.epochs=1")
    done
fi
exec "$python" "$here/src/train.py" --recipe best --data "$data" --folds "$folds" --fold 0 \
    --runs "${RUNS:-$here/runs/gpu}" "${tiny[@]}" "$@"
