#!/usr/bin/env bash
# Usage:
#   ./run.sh                  run everything, from set-up to the comparison table;
#                             a second run continues where the first one stopped
#   ./run.sh STEP [ARGS]      run one step: prepare, split, train, predict, score,
#                             submit, compare, study, export or page (each
#                             has --help)
#   ./run.sh test [ARGS]      run the tests except the slow ones in two processes;
#                             ARGS go to pytest, e.g. -m slow for the slow ones
#                             only, -m "" for all, tests/carvana/data for one
#                             folder, -n 0 --pdb for a debugger
#   ./run.sh benchmark [NAME] [ARGS]
#                             run benchmarks/NAME.py; without NAME, the
#                             benchmarks `parts` and `prediction`
#   ./run.sh dask ARGS        run a command of Dask, e.g. dask scheduler, dask
#                             worker tls://HOST:8786, or make certificates for
#                             them: dask certificates FILE
#   ./run.sh lock [ARGS]      resolve requirements*.txt into the lock files; ARGS
#                             go to `uv pip compile`, e.g. --upgrade
#
# Each of them (except `lock`) first installs what is missing into .venv
# (set_up.py).
#
# These environment variables choose what ./run.sh without a step works on:
#   DATA    the data folder (default: data)
#   RECIPE  the recipe (default: miniature for rendered data; for real photos
#           single on a GPU, and fast without one)
#   RUNS    the folder for trained runs (default: runs)
# For example: DATA=../my-carvana RECIPE=fast ./run.sh
# PYTHON names the Python (3.11, 3.12 or 3.13) that .venv is made from (default:
# python3). With VENV=none it is used as it is, and nothing is installed: for
# notebooks and machines that have the packages. In a Kaggle notebook, missing
# packages are installed beside the image's, and no .venv is made.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv="$here/.venv"
python="$venv/bin/python"

# Print the comment block at the top of this file.
usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

# Set `python` to one that has all packages. Arguments: requirements-*.txt without ending, besides requirements.txt.
set_up() {
    if [[ -n ${KAGGLE_KERNEL_RUN_TYPE:-} && -z ${VENV:-} && ! -x $python ]]; then
        set_up_notebook
        return
    fi
    case ${VENV:-} in
    "") set_up_venv requirements "$@" ;;
    none)
        python=$(suitable_python "${PYTHON:-python3}")
        "$python" "$here/set_up.py" check requirements "$@"
        export PYTHONPATH="$here/src${PYTHONPATH:+:$PYTHONPATH}"
        ;;
    *) fail "VENV=$VENV: expected none (use the active Python), or no VENV (use .venv)" ;;
    esac
}

# Use the packages of a Kaggle notebook, and install only missing ones: its versions differ from the pins.
set_up_notebook() {
    python=$(suitable_python "${PYTHON:-python3}")
    export PYTHONPATH="$here/src${PYTHONPATH:+:$PYTHONPATH}"
    "$python" -m carvana.kaggle.session.packages "$here/requirements.txt"
}

# Install what is missing into .venv. .venv/installed holds a copy of each installed lock file.
set_up_venv() {
    local installed="$venv/installed" name base complete=yes
    if (($(gpus))); then
        set -- "$@" requirements-cuda
    fi
    for name in "$@"; do
        cmp -s "$here/$name.lock" "$installed/$name.lock" || complete=
    done
    if [[ -z $complete || ! -x $python || ! -f $installed/project || $(<"$installed/project") != "$here" ]]; then
        base=$(suitable_python "${PYTHON:-python3}" "$python")
        "$base" "$here/set_up.py" install "$@"
    fi
}

# Print the first argument that is a Python of a supported version.
suitable_python() {
    local candidate
    for candidate in "$@"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=/path/to/python3"
}

fail() {
    echo "error: $1" >&2
    exit 1
}

# Run one of the scripts in src/. Arguments: its name, then its own arguments.
step() {
    "$python" "$here/src/$1.py" "${@:2}"
}

# Print the number of NVIDIA GPUs.
gpus() {
    local line count=0
    while read -r line; do
        [[ $line != GPU* ]] || ((++count))
    done < <(nvidia-smi --list-gpus 2>/dev/null)
    echo "$count"
}

# Print the absolute path of an argument, which the caller gave relative to the present folder.
absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

# Run all steps in order. Each step skips what it has finished before. Arguments: data folder, recipe (or "" for the
# one that suits data and machine), folder of the runs.
everything() {
    local data=$1 recipe=$2 runs=$3 n_gpus
    n_gpus=$(gpus)
    step prepare --data "$data"
    # Only rendered data has the masks of its test photos; it is small enough for the smallest recipe.
    if [[ -z $recipe && -f $data/test_masks.csv ]]; then
        recipe=miniature
    elif [[ -z $recipe ]]; then
        recipe=$( ((n_gpus)) && echo single || echo fast)
    fi
    local cluster=()
    ((n_gpus < 2)) || cluster=(--cluster "local:$n_gpus") # a fold on each GPU
    local folds
    folds=folds/$(basename "$(cd "$data" && pwd)")-5.csv
    local submission
    submission=submissions/$(basename "$recipe" .toml).csv.gz
    step split --data "$data" --out "$folds"
    step train --recipe "$recipe" --data "$data" --folds "$folds" --runs "$runs" ${cluster[@]+"${cluster[@]}"}
    step predict --recipe "$recipe" --data "$data" --runs "$runs" --each-fold --out "$submission"
    if [[ -f $data/test_masks.csv ]]; then
        step submit "$submission" --each-fold --board local --data "$data"
    fi
    step compare --html submissions/report.html --data "$data" --runs "$runs"
    echo "Weights, learning curves and out-of-fold scores: $runs/$(basename "$recipe" .toml)/fold-*/"
    echo "Submission of all folds: $submission   Scores: submissions/ledger.csv   Report: submissions/report.html"
    if [[ ! -f $data/test_masks.csv ]]; then
        echo "To submit to Kaggle: ./run.sh submit $submission --each-fold --board kaggle --data $data"
    fi
}

# Resolve requirements*.txt into lock files for all platforms and Python versions, with hashes. The locks for CUDA and
# the tests are installed on top of requirements.lock, so they use the same versions. Extras are kept in the names,
# because pip before 23.3 takes the newest version of e.g. coverage[toml] where only coverage is pinned, and refuses it.
lock() {
    cd "$here"
    local tools
    tools=$(mktemp -d)
    # shellcheck disable=SC2064  # the path is known now
    trap "rm -rf '$tools'" EXIT
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9
    local compile=("$tools/bin/uv" --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes
        --no-strip-extras --custom-compile-command "./run.sh lock" "$@")
    "${compile[@]}" requirements.txt --output-file requirements.lock
    "${compile[@]}" requirements-cuda.txt --constraint requirements.lock --output-file requirements-cuda.lock
    "${compile[@]}" requirements-test.txt --constraint requirements.lock --output-file requirements-test.lock
}

case ${1:-} in
"")
    # DATA, RUNS and a recipe's file belong to the caller's folder, everything else to that of this file.
    data=$(absolute "${DATA:-$here/data}") recipe=${RECIPE:-} runs=$(absolute "${RUNS:-$here/runs}")
    [[ $recipe != *.toml ]] || recipe=$(absolute "$recipe")
    cd "$here"
    data=${data#"$here/"} runs=${runs#"$here/"} recipe=${recipe#"$here/"}
    echo "Data: $data   Runs: $runs"
    set_up
    everything "$data" "$recipe" "$runs"
    ;;
test)
    cd "$here"
    set_up requirements-test
    # After a crash, --dist loadfile would wait for ever for the rest of the crashed process's file: end instead.
    exec "$python" -m pytest -m "not slow" --numprocesses 2 --dist loadfile --no-loadscope-reorder \
        --max-worker-restart 0 "${@:2}"
    ;;
benchmark)
    set_up
    if [[ -n ${2:-} && -f $here/benchmarks/$2.py ]]; then
        "$python" "$here/benchmarks/$2.py" "${@:3}"
    else
        for name in parts prediction; do
            "$python" "$here/benchmarks/$name.py" "${@:2}"
        done
    fi
    ;;
dask)
    set_up
    exec "$python" -m carvana.cluster.dask_command "${@:2}"
    ;;
lock)
    lock "${@:2}"
    ;;
prepare | split | train | predict | score | submit | compare | study | export | page)
    set_up
    step "$@"
    ;;
-h | --help)
    usage
    ;;
*)
    echo "error: no step '$1'" >&2
    usage
    exit 2
    ;;
esac
