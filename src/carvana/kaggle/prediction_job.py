"""Prediction of the competition's test photos on Kaggle's machines."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from carvana import console
from carvana.errors import UserError
from carvana.evaluation.mask_checks import suspects_path
from carvana.files import sha256_of_file
from carvana.inference.config import PredictionConfig
from carvana.kaggle.job_inputs import RecipeArgument, in_runs, key_of
from carvana.kaggle.manifest import Manifest
from carvana.kaggle.notebooks import NotebookJob, run_on_kaggle
from carvana.kaggle.options import NotebookOptions
from carvana.kaggle.push import Attachments
from carvana.kaggle.records import Outcome, read_notebook_record, read_notebook_records
from carvana.kaggle.session.output import RUNS, SAMPLE, SUBMISSIONS
from carvana.kaggle.session.settings import SessionSettings
from carvana.recipe import Encoder
from carvana.runs import RunDir
from carvana.submission.csv_file import fold_path
from carvana.submission.ledger import Ledger
from carvana.submission.prediction_record import record_path

_TRAIN_PARTS = ("train", "train_masks")
_TEST_PARTS = ("test", "sample_submission.csv")
_LEDGER = f"{SUBMISSIONS}/ledger.csv"


@dataclass(frozen=True)
class KagglePrediction:
    """A prediction as the command line describes it."""

    argument: str
    """Name of the recipe, or path of its file."""
    changes: tuple[str, ...]
    """Changes of the recipe, as `key=value`."""
    config: PredictionConfig
    """The trained networks, the threshold, and whether each fold gets a submission."""
    fold: str
    """A fold's number, or `all`."""
    tune_threshold: bool
    """True if the threshold is the best one on out-of-fold photos."""

    @property
    def recipe(self) -> RecipeArgument:
        """The recipe.

        Raises:
            UserError: the job has saved maps in place of a recipe.
        """
        (member,) = self.config.members
        if member.recipe is None:
            raise UserError(f"--recipe {member.name}: --on kaggle needs a recipe, not saved maps")
        return RecipeArgument(member.recipe, self.argument, self.changes)

    @property
    def runs(self) -> Sequence[RunDir]:
        """The runs whose networks predict."""
        return self.config.members[0].runs

    @property
    def networks(self) -> dict[str, str]:
        """SHA-256 of each network that predicts, by its path `RECIPE/fold-K/NAME.keras`."""
        return {in_runs(file): sha256_of_file(file) for run in self.runs for file in run.networks}

    def settings(self, submission: Path, hours: float) -> SessionSettings:
        """Return the settings of the session.

        Args:
            submission: the submission.
            hours: limit of the session.
        """
        recipe, networks, options = self.recipe, self.networks, self.options()
        inputs = recipe.recipe, sorted(networks.items()), self.fold, options, submission.name
        return SessionSettings(
            step="predict",
            recipe=recipe.recipe.name,
            recipe_argument=recipe.in_bundle,
            folds=tuple(run.fold for run in self.runs),
            fold_argument=self.fold,
            key=key_of("predict", *inputs),
            hours=hours,
            parts=_TEST_PARTS + (_TRAIN_PARTS if self.tune_threshold else ()),
            changes=recipe.changes,
            arguments=tuple(options),
            submission=submission.name,
            networks=networks,
            encoder=isinstance(recipe.recipe.model, Encoder),
        )

    def files(self) -> dict[str, bytes]:
        """Return the files of the runs, apart from the networks, and of the recipe, by their paths in the bundle."""
        texts = [file for run in self.runs for file in (run.recipe, run.metadata, run.scores)]
        return {f"{RUNS}/{in_runs(file)}": file.read_bytes() for file in texts} | self.recipe.files()

    def options(self) -> list[str]:
        """Return further options of the script `predict`."""
        options = ["--each-fold"] if self.config.per_fold else []
        if self.tune_threshold:
            return [*options, "--threshold", "auto"]
        return [*options, *(["--threshold", str(self.config.threshold)] if self.config.threshold else [])]


def predict_on_kaggle(
    job: KagglePrediction,
    path: Path,
    runs: Path,
    data: Path,
    options: NotebookOptions,
    *,
    fresh: bool = False,
) -> list[Path]:
    """Predict the competition's test photos into submissions, on Kaggle's machines.

    The networks are not pushed: the notebooks that trained them are attached, or datasets that hold them.

    Args:
        job: the prediction.
        path: the submission.
        runs: the folder of the runs and of the notebooks' records.
        data: the data folder; it gets `sample_submission.csv`, which `submit` needs, if it lacks it.
        options: how to run the notebook.
        fresh: predict again, although it was done or can be continued.

    Returns:
        The submissions, the ensemble's first; none for a dry run and a detached one.

    Raises:
        UserError: Kaggle has no copy of a network, the data folder holds rendered photos, or `run_on_kaggle` raises
            it.
    """
    if (data / "test_masks.csv").exists():
        raise UserError(f"{data}: holds rendered photos; give --data another/folder to predict and submit")
    settings = job.settings(path, options.hours)
    submissions = [path, *(fold_path(path, run.fold) for run in job.runs)]
    written = [*submissions, *map(record_path, submissions), suspects_path(path)]
    notebook = NotebookJob(
        settings=settings,
        extra=job.files(),
        attachments=Attachments(_kernels_of(settings.networks, runs, options), options.attach),
        runs=runs,
        results=[*(f"{SUBMISSIONS}/{one.name}" for one in written), _LEDGER, SAMPLE],
        install=lambda manifest, folder: _install(manifest, folder, path.parent, data, notebook.record),
    )
    if (fresh or not _is_current(notebook, path.parent)) and not run_on_kaggle(
        notebook, options, fresh=fresh
    ):
        return []
    record = read_notebook_record(notebook.record)
    names = [PurePosixPath(name).name for name in record.files] if record else []
    return [one for one in submissions if one.name in names]


def _kernels_of(networks: Mapping[str, str], runs: Path, options: NotebookOptions) -> list[str]:
    """Return the notebooks whose output holds the networks.

    Raises:
        UserError: a network is in none, and no dataset is attached.
    """
    kernels: dict[str, None] = {}
    missing = []
    for name, digest in networks.items():
        kernel = next(
            (one.kernel for one in read_notebook_records(runs) if digest in one.files.values()), None
        )
        if kernel:
            kernels[kernel] = None
        else:
            missing.append(name)
    if missing and not options.attach:
        raise UserError(
            f"{', '.join(missing)}: not trained by --on kaggle, so Kaggle has no copy; upload {runs} as a"
            " private dataset, and name it by --attach OWNER/NAME"
        )
    return list(kernels)


def _is_current(job: NotebookJob, folder: Path) -> bool:
    """Return whether the notebook's submissions were fetched before, are unchanged, and have rows in the ledger."""
    record = read_notebook_record(job.record)
    if record is None or record.outcome != Outcome.FINISHED:
        return False
    ledger = Ledger(folder / "ledger.csv")
    for name, digest in record.files.items():
        path = folder / PurePosixPath(name).name
        if name.endswith(".gz"):
            is_unchanged = path.is_file() and sha256_of_file(path) == digest
            if not (is_unchanged and ledger.find(path.name, digest)):
                return False
    console.message(f"{folder / job.settings.submission}: predicted already")
    return True


def _install(manifest: Manifest, folder: Path, submissions: Path, data: Path, record_file: Path) -> None:
    """Move fetched submissions to their folder, and their rows to the ledger there; their records come last."""
    submissions.mkdir(parents=True, exist_ok=True)
    ledger, record = Ledger(submissions / "ledger.csv"), read_notebook_record(record_file)
    names = [name for name in manifest.files if name not in (_LEDGER, SAMPLE)]
    records = [name for name in names if name.endswith(".json")]
    for name in names:
        if name not in records:
            shutil.move(folder / name, submissions / PurePosixPath(name).name)
    for row in Ledger(folder / _LEDGER).rows():
        ledger.add(row | {"commit": record.commit if record else ""})
    for name in records:
        shutil.move(folder / name, submissions / PurePosixPath(name).name)
    sample = data / PurePosixPath(SAMPLE).name
    if not sample.exists():
        sample.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / SAMPLE, sample)
        console.message(f"{sample}: fetched, for submit")
