"""Choice of the engine that computes the networks: the fastest of those whose Dice is that of Keras.

OpenVINO in float32 computes the same as Keras, but for rounding. It is used in another precision only if the
out-of-fold Dice was compared with that of Keras, by `./run.sh benchmark engines`.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pandas as pd

from carvana import console
from carvana.backend import first_gpu, keras
from carvana.competition import rle
from carvana.competition.dice import dice_from_edges
from carvana.console import ProgressCallback, Reporter
from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.evaluation.scores import ScoreSummary, paired_difference
from carvana.files import read_json, sha256_of_file, sha256_of_text, write_json
from carvana.inference.config import (
    KERAS,
    EngineConfig,
    EnsembleMember,
    PredictionConfig,
    quantized_file,
)
from carvana.inference.engine_speed import photos_per_second
from carvana.inference.pipeline import Prediction, predict_stream
from carvana.inference.predictors import WeightedEnsemble
from carvana.machine import describe_machine
from carvana.runs import RunDir
from carvana.tables import DICE, TEXT, read_csv, write_csv

MIN_PHOTOS = 1000
"""Photos from which `auto` measures engines; for fewer, the measurement takes longer than it saves."""

MAX_LOSS = 5e-5
"""Loss of Dice, compared with Keras, below which an engine is as accurate: the 95% interval must lie above it."""

SpeedMeasure = Callable[[EnsembleMember, EngineConfig], float]
"""Measurement of an engine's photos per second."""


def choose_engine(
    name: Literal["auto", "keras", "openvino"],
    config: PredictionConfig,
    n_photos: int,
    *,
    measure: SpeedMeasure = photos_per_second,
    reporter: Reporter = console,
) -> EngineConfig:
    """Choose the engine of a prediction.

    The measured speeds are kept in the folder of the first run, so that the same command makes the same choice.

    Args:
        name: `auto` chooses the fastest engine and precision on a machine without a GPU, and Keras on a GPU, with
            another backend than TensorFlow and for fewer than `MIN_PHOTOS` photos; `openvino` chooses the fastest
            precision of OpenVINO; `keras` is Keras.
        config: the prediction; its engine is ignored.
        n_photos: number of photos to predict.
        measure: measures the speed of an engine.
        reporter: receives a line about a choice.

    Raises:
        UserError: `openvino` cannot compute the networks on this machine.
    """
    members = [member for member in config.members if member.recipe]
    if name == "keras" or not members or (name == "auto" and n_photos < MIN_PHOTOS):
        return KERAS
    obstacle = _obstacle(members)
    if obstacle and name == "openvino":
        raise UserError(f"--engine openvino: {obstacle}")
    if obstacle or (name == "auto" and first_gpu() is not None):
        return KERAS
    allowed, refused = _openvino_engines(members)
    candidates = [KERAS, *allowed] if name == "auto" else allowed
    speeds = _speeds(members, candidates, measure) if len(candidates) > 1 else {}
    chosen = max(candidates, key=lambda engine: speeds.get(engine.name, 0.0))
    reporter.message(_describe(chosen, speeds, refused))
    return chosen


def engines_to_compare() -> list[EngineConfig]:
    """Return the engines besides Keras that this machine has instructions for.

    Raises:
        UserError: OpenVINO cannot compute networks on this machine.
    """
    obstacle = _obstacle([])
    if obstacle:
        raise UserError(obstacle)
    from carvana.inference.openvino_engine import supported_precisions  # not installed on every machine

    return [EngineConfig("openvino", precision) for precision in supported_precisions()]


def score_engine(
    run: RunDir, samples: Sequence[Sample], engine: EngineConfig, advance: ProgressCallback
) -> None:
    """Score a run's networks, computed by an engine, on the held-out photos, as training scores them by Keras.

    The scores are written into the run's folder.

    Args:
        run: a finished run.
        samples: the held-out photos.
        engine: the engine.
        advance: called for each photo.
    """
    recipe = run.read_recipe()
    config = PredictionConfig((EnsembleMember(recipe.name, 1.0, recipe, (run,)),), engine=engine)
    threshold, rows = config.effective_threshold, []

    def score(prediction: Prediction) -> tuple[str, float]:
        true_edges = rle.mask_to_edges(prediction.sample.read_mask())
        return prediction.sample.name, dice_from_edges(prediction.edges(threshold), true_edges)

    for row in predict_stream(WeightedEnsemble.load(config), samples, score):
        rows.append(row)
        advance(1)
    write_csv(pd.DataFrame(rows, columns=["img", "dice"]), engine_scores_path(run, engine))


def engine_scores_path(run: RunDir, engine: EngineConfig) -> Path:
    """Return the file of a run's scores with an engine; its name holds a digest of the networks and the engine."""
    files = run.networks
    if engine.precision == "int8":
        quantized = [quantized_file(path).with_suffix(".bin") for path in files]
        files = [*files, *(path for path in quantized if path.is_file())]
    inputs = json.dumps([engine.fingerprint(), [sha256_of_file(path) for path in files]])
    return run.folder / f"scores-{engine.name}-{sha256_of_text(inputs)[:12]}.csv"


def read_engine_scores(run: RunDir, engine: EngineConfig) -> pd.DataFrame | None:
    """Read what `score_engine` wrote: columns img and dice, one row per photo; None if it was not written.

    Raises:
        UserError: the file is malformed.
    """
    path = engine_scores_path(run, engine)
    return read_csv(path, {"img": TEXT, "dice": DICE})[["img", "dice"]] if path.is_file() else None


def difference_from_keras(runs: Sequence[RunDir], engine: EngineConfig) -> ScoreSummary | None:
    """Return the out-of-fold Dice of an engine minus that of Keras, paired by photo; None if a run was not scored."""
    scores = [read_engine_scores(run, engine) for run in runs]
    if any(of_run is None for of_run in scores):
        return None
    return paired_difference(pd.concat(scores), pd.concat([run.read_scores() for run in runs]))


def is_accurate(difference: ScoreSummary | None, engine: EngineConfig) -> bool:
    """Return whether an engine may be used, given its `difference_from_keras`."""
    return engine.precision in (None, "float32") or (difference is not None and difference.low > -MAX_LOSS)


def _obstacle(members: Sequence[EnsembleMember]) -> str:
    """Return why OpenVINO cannot compute the networks of members on this machine; "" if it can."""
    if find_spec("openvino") is None:
        return "OpenVINO is not installed; `.venv/bin/pip install openvino` if there is a package for this system"
    if keras.backend.backend() != "tensorflow":
        return f"networks are converted by TensorFlow, not by KERAS_BACKEND={keras.backend.backend()}"
    for run in (run for member in members for run in member.runs):
        if not os.access(run.folder, os.W_OK):
            return f"{run.folder}: cannot be written, and the converted network is kept there"
    return ""


def _openvino_engines(
    members: Sequence[EnsembleMember],
) -> tuple[list[EngineConfig], list[tuple[EngineConfig, str]]]:
    """Return the engines of OpenVINO that are accurate enough, and the other ones with the reason."""
    allowed, refused = [], []
    for engine in engines_to_compare():
        differences = [difference_from_keras(member.runs, engine) for member in members]
        if all(is_accurate(difference, engine) for difference in differences):
            allowed.append(engine)
        else:
            is_unknown = None in differences
            reason = "not compared by `./run.sh benchmark engines`" if is_unknown else "less accurate"
            refused.append((engine, reason))
    return allowed, refused


def _speeds(
    members: Sequence[EnsembleMember], candidates: Sequence[EngineConfig], measure: SpeedMeasure
) -> dict[str, float]:
    """Return the photos per second of each candidate by its name, as measured now or by an earlier command."""
    first_folds = [replace(member, runs=member.runs[:1]) for member in members]
    inputs = [
        describe_machine(),
        [engine.fingerprint() for engine in candidates],
        [member.fingerprint() for member in first_folds],
    ]
    key = sha256_of_text(json.dumps(inputs))[:12]
    path = members[0].runs[0].folder / f"engine-speeds-{key}.json"
    names = [engine.name for engine in candidates]
    with suppress(UserError):  # a file that is missing or damaged is written again
        return read_json(path, dict.fromkeys(names, float))
    seconds = [sum(1 / measure(member, engine) for member in first_folds) for engine in candidates]
    speeds = {name: round(1 / total, 2) for name, total in zip(names, seconds, strict=True)}
    write_json(speeds, path)
    return speeds


def _describe(
    chosen: EngineConfig, speeds: Mapping[str, float], refused: Sequence[tuple[EngineConfig, str]]
) -> str:
    """Describe a choice, e.g. `engine openvino-float32, 60.1 photos/s (keras: 45.0)`."""
    notes = [f"{name}: {speed:,.1f}" for name, speed in speeds.items() if name != chosen.name]
    notes += [f"{engine.name}: {reason}" for engine, reason in refused]
    text = f"engine {chosen.name}"
    if chosen.name in speeds:
        text += f", {speeds[chosen.name]:,.1f} photos/s"
    return f"{text} ({'; '.join(notes)})" if notes else text
