"""Score a submission against known masks."""

import carvana.startup  # noqa: F401  first, see there

# isort: split
from pathlib import Path
from typing import Annotated

import typer

from carvana import commandline, console
from carvana.arguments import parse_size


def score(
    submission: Annotated[Path, typer.Argument(help="The submission (.csv, .gz or .zip).")],
    truth: Annotated[Path, typer.Option(help="The known masks: columns img,rle_mask[,Usage].")],
    size: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT of the photos, where they are not beside the truth or in its folders test and train."
            " [default: 1918x1280]"
        ),
    ] = None,
) -> None:
    """Score a submission against known masks: the mean Dice, and its 95% interval over cars.

    Example:

        ./run.sh score submissions/miniature.csv.gz --truth data/test_masks.csv
    """
    from carvana.data.images import MAX_SIDE
    from carvana.errors import prefix_errors
    from carvana.evaluation.scores import mean_with_ci
    from carvana.submission.scoring import score_submission

    scores = score_submission(submission, truth, parse_size(size, 1, MAX_SIDE) if size else None)
    groups = {"all": scores}
    if "Usage" in scores:
        groups |= dict(list(scores.groupby(scores["Usage"].str.lower(), sort=False)))
    with prefix_errors(str(truth)):  # the names of its photos name their cars
        rows = [[name, *mean_with_ci(group).cells()] for name, group in groups.items()]
    console.show_table(str(submission), ["photos of", "Dice", "95% interval", "photos"], rows)


if __name__ == "__main__":
    commandline.run(score)
