"""Training of folds on Kaggle's machines."""

import os
import shutil
from collections.abc import Sequence, Set
from pathlib import Path

from carvana import console
from carvana.arguments import command, option
from carvana.data.folds import read_folds
from carvana.data.split import parse_fold
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.kaggle.job_inputs import RecipeArgument, attachments_of, in_runs, key_of
from carvana.kaggle.notebooks import NotebookJob, run_on_kaggle
from carvana.kaggle.options import NotebookOptions
from carvana.kaggle.records import Record, read_notebook_record
from carvana.kaggle.session.output import RUNS
from carvana.kaggle.session.settings import SessionSettings
from carvana.locks import file_lock
from carvana.recipe import Encoder
from carvana.runs import RunDir, run_dir

TABLE = Path(__file__).parents[3] / "folds" / "carvana-5.csv"
"""The default fold table: the project's, of the competition's cars."""
_PARTS = ("train", "train_masks")


def train_on_kaggle(
    recipe: RecipeArgument,
    table: Path,
    folds: Sequence[str],
    runs: Path,
    options: NotebookOptions,
    *,
    fresh: bool = False,
) -> list[RunDir]:
    """Train a recipe on folds of a table, on Kaggle's machines.

    Args:
        recipe: the recipe.
        table: the fold table of the competition's cars.
        folds: the folds as the command line gives them: numbers, or `all`.
        runs: each fold is fetched to `runs/RECIPE/fold-K`.
        options: how to run the notebook.
        fresh: train again, although the folds are trained or can be continued.

    Returns:
        The runs, one for each fold; none for a dry run and a detached one.

    Raises:
        UserError: there is no such fold, a fold was trained elsewhere, or `run_on_kaggle` raises it.
    """
    chosen = _select_folds(table, folds)
    argument = "all" if "all" in folds else ",".join(map(str, chosen))
    settings = SessionSettings(
        step="train",
        recipe=recipe.recipe.name,
        recipe_argument=recipe.in_bundle,
        folds=tuple(chosen),
        fold_argument=argument,
        key=key_of("train", recipe.recipe, sha256_of_file(table), argument),
        hours=options.hours,
        parts=_PARTS,
        changes=recipe.changes,
        table=f"folds/{table.name}",
        encoder=isinstance(recipe.recipe.model, Encoder),
    )
    trained = [run_dir(runs, recipe.recipe, one) for one in chosen]
    replaceable = {run for run in trained if fresh or run.finished}
    job = NotebookJob(
        settings=settings,
        extra={settings.table: table.read_bytes(), **recipe.files()},
        attachments=attachments_of(recipe.recipe, options.attach, offline=options.offline),
        runs=runs,
        results=[f"{RUNS}/{run.folder.parent.name}/{run.folder.name}/" for run in trained],
        install=lambda manifest, folder: _install_runs(folder, trained, replaceable),
    )
    record = read_notebook_record(job.record)
    if not (fresh or (record and record.is_replacing)):
        _check_local_runs(trained, recipe, table, runs, record)
        if all(run.finished for run in trained):
            for run in trained:
                console.message(f"fold {run.fold}: trained already, in {run.folder}")
            return trained
    return trained if run_on_kaggle(job, options, fresh=fresh) else []


def _select_folds(table: Path, folds: Sequence[str]) -> list[int]:
    """Return the numbers of folds of a table, ascending.

    Raises:
        UserError: the table lacks a fold.
    """
    known, chosen = sorted(set(read_folds(table).tolist())), {parse_fold(fold) for fold in folds}
    for number in chosen:
        if number is not None and number not in known:
            raise UserError(f"fold {number}: not in {table}, which has {', '.join(map(str, known))}")
    return known if None in chosen else [number for number in known if number in chosen]


def _check_local_runs(
    trained: Sequence[RunDir], recipe: RecipeArgument, table: Path, runs: Path, record: Record | None
) -> None:
    """Raise UserError if a run was begun with another recipe, or only some of them were trained on this machine."""
    fetched = record.files if record else {}
    elsewhere = []
    for run in trained:
        if run.finished or run.checkpoint.is_file():
            run.check_recipe(recipe.recipe)
        name = f"{RUNS}/{in_runs(run.scores)}"
        if run.finished and fetched.get(name) != sha256_of_file(run.scores):
            elsewhere.append(run)
    others = [run.fold for run in trained if not run.finished]
    if elsewhere and others:
        options = [argument for fold in others for argument in ("--fold", str(fold))]
        options += [argument for change in recipe.changes for argument in ("--set", change)]
        options += [*option("--folds", table, str(TABLE)), *option("--runs", runs, "runs")]
        raise UserError(
            f"{', '.join(str(run.folder) for run in elsewhere)}: trained already, but not by this notebook;"
            f" {command('train', '--recipe', recipe.argument, *options, '--on', 'kaggle')} trains the other folds"
        )


def _install_runs(folder: Path, runs: Sequence[RunDir], replaceable: Set[RunDir]) -> None:
    """Move fetched runs to their folders; the scores, which mark a run as finished, come last.

    Args:
        folder: the folder of the fetched files.
        runs: the runs.
        replaceable: runs that are replaced although they are finished. Another one that is finished was trained on
            this machine while the notebook was running, and is kept.
    """
    for run in runs:
        fetched = RunDir(folder / RUNS / run.folder.parent.name / run.folder.name)
        if not fetched.finished:
            continue
        with file_lock(run.lock, console):
            if run.finished and run not in replaceable:
                console.message(
                    f"fold {run.fold}: was trained on this machine meanwhile, in {run.folder}; it is kept"
                )
                continue
            _clear(run)
            files = sorted(path for path in fetched.folder.rglob("*") if path.is_file())
            for path in sorted(files, key=lambda path: path == fetched.scores):
                target = run.folder / path.relative_to(fetched.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        console.message(f"fold {run.fold}: fetched to {run.folder}")


def _clear(run: RunDir) -> None:
    """Delete the files of a run apart from its lock."""
    for path in sorted(run.folder.iterdir(), key=lambda path: path != run.scores):
        if path.is_dir():
            shutil.rmtree(path)
        elif path != run.lock:
            path.unlink()
