#!/usr/bin/env bash
# Measure a training step on this GPU: its time beside plain PyTorch's, its share of the bfloat16 peak, and its memory.
#
#   benchmarks/gpu/steps.sh
#
# PYTHON: a Python with the requirements, this project, and torch or jax installed. TINY=1: a check of this script with
# small photos.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
step() { "$python" "$here/benchmarks/train_step.py" "$@"; }
if [[ -n ${TINY:-} ]]; then
    step --network unet --size 32x48 --batch 2 --steps 1 --turns 1
    exit
fi
step --network unet --size 288x432 --batch 16 --steps 20
step --network resnet34 --size 512x768 --batch 16 --steps 20
for size in 512x768 1024x1536 1280x1920; do # peak memory by resolution and batch
    for batch in 1 2 4 8; do
        step --network resnet34 --size "$size" --batch "$batch" --steps 3 --turns 1
    done
done
