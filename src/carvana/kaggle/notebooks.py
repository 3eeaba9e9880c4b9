"""Training and prediction on Kaggle's machines: a notebook is pushed, followed, and its output fetched.

One command does all of it, and continues where it stopped: it follows a session that is running, fetches the output
of one that has ended, and pushes the next version of one whose time was over.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from carvana import console
from carvana.errors import UserError
from carvana.kaggle.bundle import make_bundle
from carvana.kaggle.client import sign_in
from carvana.kaggle.fetch import InvalidOutputError, Output
from carvana.kaggle.follow import FIRST_PAUSE_S, describe_failure, follow
from carvana.kaggle.kernel import COMPLETE, Kernel, NoSessionError, find_kernel
from carvana.kaggle.manifest import Manifest
from carvana.kaggle.options import NotebookOptions
from carvana.kaggle.push import Attachments, Push, make_title, push, slug_of
from carvana.kaggle.records import Outcome, Record, notebook_record_path, read_notebook_record
from carvana.kaggle.session.settings import SessionSettings
from carvana.locks import file_lock
from carvana.machine import git_commit


@dataclass(frozen=True)
class NotebookJob:
    """Work for a notebook: the settings of its sessions, and where its output goes."""

    settings: SessionSettings
    extra: Mapping[str, bytes]
    """Files of the bundle apart from the code, by their paths in it."""
    attachments: Attachments
    runs: Path
    """Folder of the runs, which holds the records of the notebooks."""
    results: Sequence[str]
    """Paths of the output that are fetched: files, and folders, which end in `/`. Any other path is refused."""
    install: Callable[[Manifest, Path], None]
    """Moves the fetched and verified files of a folder to where they belong."""

    @property
    def title(self) -> str:
        """Title of the notebook."""
        return make_title(self.settings.step, self.settings.recipe, self.settings.key)

    @property
    def slug(self) -> str:
        """Name of the notebook in its address."""
        return slug_of(self.title)

    @property
    def record(self) -> Path:
        """File of the notebook's record."""
        return notebook_record_path(self.runs, self.slug)

    @property
    def folder(self) -> Path:
        """Folder of the notebook's script and of its fetched files, until these are complete."""
        return self.record.with_suffix("")

    def prepare_push(self, options: NotebookOptions, continued: str | None) -> Push:
        """Return the notebook's next version.

        Args:
            options: options of the command line.
            continued: the notebook `OWNER/SLUG` from whose output the version continues; None for a new start.
        """
        settings = replace(
            self.settings, hours=options.hours, offline=options.offline, resumes=continued is not None
        )
        attachments = self.attachments
        if continued:
            attachments = replace(attachments, kernels=[*attachments.kernels, continued])
        bundle = make_bundle(settings, self.title, self.extra)
        return Push(self.title, bundle, options.hours, not options.offline, attachments)


def run_on_kaggle(
    job: NotebookJob, options: NotebookOptions, *, fresh: bool = False, first_pause_s: float = FIRST_PAUSE_S
) -> bool:
    """Push a notebook, or follow the one that was pushed, and fetch its output.

    Args:
        job: what to do.
        options: options of the command line.
        fresh: start again, although an earlier version has finished or can be continued.
        first_pause_s: the first pause between requests, in seconds.

    Returns:
        True if the output was fetched and installed; False for a dry run and a detached one.

    Raises:
        UserError: Kaggle refuses, the session failed, was cancelled or ran out of time, or its output is not what its
            manifest lists. The same command continues in each case.
    """
    if options.dry_run:
        _write_dry_run(job, options)
        return False
    with file_lock(job.folder.with_suffix(".lock"), console):
        kernel = find_kernel(sign_in(), job.slug)
        newest = kernel.newest_version()
        record = _record_of(job, kernel) if newest else None
        if record and record.version == newest and record.outcome in (Outcome.PUSHED, Outcome.UNFINISHED):
            fresh = fresh and not record.fresh  # that of this version, which is followed or continued
        version, ended = _version_to_follow(kernel, newest, record, fresh=fresh) or (
            _push(job, kernel, options, record, fresh=fresh),
            False,
        )
        if options.detach and not ended:
            console.message(f"detached from version {version}, {kernel.url}; the same command follows it")
            return False
        _finish(job, kernel, version, first_pause_s)
        return True


def _write_dry_run(job: NotebookJob, options: NotebookOptions) -> None:
    """Write what would be pushed, and print what it would use."""
    version = job.prepare_push(options, continued=None)
    version.write(job.folder, owner="OWNER")
    for line in version.describe():
        console.message(line)
    console.message(f"{job.folder}: holds what would be pushed as {job.slug}; nothing was sent")


def _record_of(job: NotebookJob, kernel: Kernel) -> Record | None:
    """Return the record of a notebook; None if there is none, or only that of another account's notebook."""
    record = read_notebook_record(job.record)
    return record if record and record.kernel == kernel.ref else None


def _version_to_follow(
    kernel: Kernel, newest: int | None, record: Record | None, *, fresh: bool
) -> tuple[int, bool] | None:
    """Return the newest version if it is to be followed or fetched, and whether it has ended; else None."""
    if newest is None:
        return None
    try:
        ended, has_session = kernel.status(newest).ended, True
    except NoSessionError:
        ended, has_session = False, False
    if fresh and has_session and not ended:
        raise UserError(
            f"--fresh: version {newest} is running, {kernel.url}; cancel it there, or wait for its end"
        )
    is_over = record and record.version == newest and record.outcome in (Outcome.UNFINISHED, Outcome.FAILED)
    if fresh or (ended and is_over):
        return None
    kept = "" if ended else ", with the options that it was pushed with"
    console.message(f"version {newest} of {kernel.url} {'has ended' if ended else 'is followed'}{kept}")
    return newest, ended


def _push(
    job: NotebookJob, kernel: Kernel, options: NotebookOptions, record: Record | None, *, fresh: bool
) -> int:
    """Push the notebook's next version, which continues from what the record has, and return its number."""
    earlier = record if record and record.continues_from and not fresh else None
    version = job.prepare_push(options, continued=kernel.ref if earlier else None)
    for line in version.describe():
        console.message(line)
    number, invalid = push(kernel, version, job.folder)
    pushed = earlier or Record(kernel.ref, number, Outcome.PUSHED, fresh)
    replace(pushed, version=number, outcome=Outcome.PUSHED, commit=git_commit()).write(job.record)
    if invalid:
        raise UserError(
            f"version {number} of {kernel.url}: Kaggle did not attach {', '.join(invalid)}; accept the competition's"
            " rules and check the names. If the version fails, run the same command again"
        )
    console.message(f"pushed as version {number}, {kernel.url}")
    return number


def _finish(job: NotebookJob, kernel: Kernel, version: int, first_pause_s: float) -> None:
    """Follow a version to its end, fetch its output and install it.

    Raises:
        UserError: it failed, was cancelled, or ran out of time.
    """
    try:
        status = follow(kernel, version, first_pause_s)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"detached from version {version}, which goes on and uses the quota; the same command follows it. To"
            f" end it, cancel it at {kernel.url}: what it has not saved is lost"
        ) from None
    if status.state != COMPLETE:
        replace(_record_of_version(job, kernel, version), outcome=Outcome.FAILED).write(job.record)
        reason = describe_failure(kernel, version, status)
        raise UserError(f"{reason}; the same command pushes the next version")
    manifest = _fetch(job, kernel, version, first_pause_s)
    record = _record_of_version(job, kernel, version)
    if manifest.finished:
        replace(record, outcome=Outcome.FINISHED, continues_from=0).write(job.record)
        return
    outcome = Outcome.FAILED if manifest.failure else Outcome.UNFINISHED
    replace(record, outcome=outcome, continues_from=version).write(job.record)
    if manifest.failure:
        raise UserError(
            f"version {version} of {kernel.ref} failed ({manifest.failure}); what was finished before was fetched;"
            " the same command, without --fresh, pushes the next version, which continues from there"
        )
    raise UserError(
        f"version {version} of {kernel.ref} stopped when its time was over; what is finished was fetched, and the"
        " same command pushes the next version, which continues from there"
    )


def _fetch(job: NotebookJob, kernel: Kernel, version: int, first_pause_s: float) -> Manifest:
    """Fetch, verify and install the output of a version that has ended."""
    folder, output = job.folder / f"version-{version}", Output(kernel, version, first_pause_s)
    try:
        manifest = output.fetch_manifest(folder, job.settings.key)
    except InvalidOutputError as error:
        replace(_record_of_version(job, kernel, version), outcome=Outcome.FAILED).write(job.record)
        raise UserError(f"{error}; the same command pushes the next version") from None
    for name in manifest.files:
        if not any(name == one or (one.endswith("/") and name.startswith(one)) for one in job.results):
            raise UserError(
                f"{kernel.url}: the output has {name}, which is no result of this command; run it again with --fresh"
            )
    console.message(f"computed on {manifest.machine}")
    output.fetch_files(manifest.files, folder)
    digests = {name: entry.sha256 for name, entry in manifest.files.items()}
    # Before the first file is installed, so that none is taken for another training's after an interruption.
    record = _record_of_version(job, kernel, version)
    replace(record, outcome=Outcome.PUSHED, files=digests).write(job.record)
    job.install(manifest, folder)
    for fetched in job.folder.glob("version-*"):  # those of earlier versions, too
        shutil.rmtree(fetched)
    return manifest


def _record_of_version(job: NotebookJob, kernel: Kernel, version: int) -> Record:
    """Return the record of a version that was pushed, with what earlier ones left."""
    record = _record_of(job, kernel) or Record(kernel.ref, version, Outcome.PUSHED)
    if record.version == version:
        return record
    return replace(record, version=version, commit="")  # another machine pushed it
