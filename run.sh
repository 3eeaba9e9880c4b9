#!/usr/bin/env bash
# ./run.sh              everything: from set-up to the comparison table; a second run picks up where the first stopped
# ./run.sh test         the tests
# ./run.sh STEP [ARGS]  one step: prepare, split, train, predict, score, submit, compare, study, export (each has --help)
# ./run.sh benchmark    the ends of the way, and prediction as a whole, measured beside the obvious way
#                       (or one of them: ./run.sh benchmark parts|prediction|cluster [ARGS])
# ./run.sh dask ARGS    Dask's own commands in the same environment: dask scheduler, dask worker tcp://HOST:8786
#
# DATA, RECIPE and RUNS in the environment choose what ./run.sh works on, e.g.
#   DATA=../my-carvana RECIPE=fast ./run.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python="$here/.venv/bin/python"

# Make .venv and install requirements.txt, when they are missing or changed.
set_up() {
    local wanted
    wanted=$(cat "$here/requirements.txt")
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
        wanted=${wanted/tensorflow==/tensorflow[and-cuda]==}
    fi
    if [[ -x $python && -f $here/.venv/installed.txt && $wanted == "$(cat "$here/.venv/installed.txt")" ]]; then
        return
    fi
    echo "Setting up .venv: a few minutes, once"
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2
        exit 1
    }
    [[ -x $python ]] || "${PYTHON:-python3}" -m venv "$here/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r <(echo "$wanted")
    echo "$wanted" >"$here/.venv/installed.txt"
}

step() {
    "$python" "$here/src/$1.py" "${@:2}"
}

# The whole way. Each step leaves alone what it finished before.
everything() {
    local data=${DATA:-data} runs=${RUNS:-runs}
    step prepare --data "$data"
    # The rendered set brings the truth of its test photos, and is small enough for the smallest recipe.
    local recipe=${RECIPE:-fast}
    [[ -n ${RECIPE:-} || ! -f $data/test_masks.csv ]] || recipe=miniature
    local folds
    folds=folds/$(basename "$(cd "$data" && pwd)")-5.csv
    local submission
    submission=submissions/$(basename "$recipe" .toml).csv.gz
    step split --data "$data" --out "$folds"
    step train --recipe "$recipe" --data "$data" --folds "$folds" --runs "$runs"
    step predict --recipe "$recipe" --data "$data" --runs "$runs" --each-fold --out "$submission"
    if [[ -f $data/test_masks.csv ]]; then
        step submit "$submission" --each-fold --board local --data "$data"
    fi
    step compare --html submissions/report.html --data "$data" --runs "$runs"
    echo "Weights, learning curves and out-of-fold scores: $runs/$(basename "$recipe" .toml)/fold-*/"
    echo "Submission of all folds: $submission   Scores: submissions/ledger.csv   Report: submissions/report.html"
    if [[ ! -f $data/test_masks.csv ]]; then
        echo "To Kaggle: ./run.sh submit $submission --each-fold --board kaggle --data $data"
    fi
}

case ${1:-} in
"")
    cd "$here"
    set_up
    everything
    ;;
test)
    cd "$here"
    set_up
    exec "$python" -m pytest "${@:2}"
    ;;
benchmark)
    set_up
    if [[ -n ${2:-} && -f $here/benchmarks/$2.py ]]; then
        PYTHONPATH="$here/src" "$python" "$here/benchmarks/$2.py" "${@:3}"
    else
        for part in parts prediction; do
            PYTHONPATH="$here/src" "$python" "$here/benchmarks/$part.py" "${@:2}"
        done
    fi
    ;;
dask)
    set_up
    PYTHONPATH="$here/src" exec "$here/.venv/bin/dask" "${@:2}"
    ;;
prepare | split | train | predict | score | submit | compare | study | export)
    set_up
    step "$@"
    ;;
*)
    [[ $1 == -h || $1 == --help ]] || echo "error: no step '$1'" >&2
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    [[ $1 == -h || $1 == --help ]] || exit 2
    ;;
esac
