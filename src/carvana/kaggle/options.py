"""Options of the scripts for work on Kaggle's machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

MIN_HOURS = 0.5
"""Shortest session: it leaves the time to interrupt the work and to save it."""
MAX_HOURS = 12.0
"""Longest session with GPUs, and the default."""

On = Annotated[
    Literal["kaggle"] | None,
    typer.Option(
        help="Work on Kaggle's machines, with the competition's photos there; needs a token of Kaggle."
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(
        min=MIN_HOURS,
        max=MAX_HOURS,
        help="--on kaggle: limit of the session, before which it saves its work and ends; the same command continues"
        f" it. It must fit into the week's remaining quota. [default: {MAX_HOURS:g}]",
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="--on kaggle: push, and do not wait; the same command follows.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="--on kaggle: write what would be pushed, and send nothing.")
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="--on kaggle: run without internet; packages that Kaggle's image lacks must come from a dataset given by"
        " --attach.",
    ),
]
Attach = Annotated[
    list[str] | None,
    typer.Option(help="--on kaggle: a dataset OWNER/NAME with wheels or networks; may be repeated."),
]


@dataclass(frozen=True)
class NotebookOptions:
    """Options of a notebook."""

    hours: float = MAX_HOURS
    """Limit of the session."""
    detach: bool = False
    """Push, and do not wait."""
    dry_run: bool = False
    """Write what would be pushed, without a connection to Kaggle."""
    offline: bool = False
    """Run the notebook without internet."""
    attach: Sequence[str] = ()
    """Further datasets, `OWNER/NAME`."""


def notebook_options(
    on: str | None,
    hours: float | None,
    detach: bool,
    dry_run: bool,
    offline: bool,
    attach: Sequence[str] | None,
) -> NotebookOptions | None:
    """Return the options of a notebook, or None without `--on kaggle`.

    Raises:
        typer.BadParameter: an option was given without `--on kaggle`, or a dataset's name is malformed.
    """
    if on is None:
        if hours is not None or detach or dry_run or offline or attach:
            raise typer.BadParameter(
                "--hours, --detach, --dry-run, --offline and --attach require --on kaggle"
            )
        return None
    for name in attach or ():
        owner, slash, dataset = name.partition("/")
        if not (owner and slash and dataset) or "/" in dataset:
            raise typer.BadParameter(f"--attach {name}: expected OWNER/NAME")
    return NotebookOptions(hours or MAX_HOURS, detach, dry_run, offline, tuple(attach or ()))
