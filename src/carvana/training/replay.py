"""Hard photos, shown more often than others."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carvana.data.dataset import Sample
from carvana.errors import UserError
from carvana.recipe import Replay
from carvana.runs import RunDir


def with_replays(photos: Sequence[Sample], replay: Replay, runs: Path) -> list[Sample]:
    """An epoch's photos, with the hard ones in it more than once.

    Args:
        photos: to train on.
        replay: the recipe whose out-of-fold scores tell, the share that is hard, and how much more often it is shown.
        runs: where that recipe's runs lie.

    Raises:
        UserError: some of the photos have no out-of-fold score there.
    """
    files = sorted((runs / replay.recipe).glob("fold-*/scores.csv"))
    scores = pd.concat([RunDir(file.parent).read_scores() for file in files]) if files else None
    known = {} if scores is None else dict(zip(scores["img"], scores["dice"], strict=True))
    missing = [photo for photo in photos if photo.name not in known]
    if missing:
        raise UserError(
            f"replay: {len(missing)} of {len(photos)} photos have no out-of-fold score in {runs / replay.recipe};"
            f" `./run.sh train --recipe {replay.recipe}` on all folds comes first"
        )
    hardest = sorted(photos, key=lambda photo: known[photo.name])[: round(replay.share * len(photos))]
    return [*photos, *hardest * replay.more]
