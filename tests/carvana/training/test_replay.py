"""Hard photos."""

from pathlib import Path

import pandas as pd
import pytest

from carvana.data.dataset import train_samples
from carvana.errors import UserError
from carvana.recipe import Replay
from carvana.training.replay import with_replays


def test_the_hardest_photos_are_shown_more_often(rendered: Path, tmp_path: Path) -> None:
    photos = train_samples(rendered)
    scores = pd.DataFrame({"img": [photo.name for photo in photos], "dice": 0.99})
    scores.loc[[5, 40], "dice"] = 0.5
    for fold, of_fold in enumerate((scores[:32], scores[32:])):
        (tmp_path / f"easy/fold-{fold}").mkdir(parents=True)
        of_fold.to_csv(tmp_path / f"easy/fold-{fold}/scores.csv", index=False)
    epoch = with_replays(photos, Replay(recipe="easy", share=2 / 64, more=3), tmp_path)
    assert epoch[:64] == list(photos)
    assert sorted(photo.name for photo in epoch[64:]) == sorted([photos[5].name, photos[40].name] * 3)
    (tmp_path / "easy/fold-1/scores.csv").unlink()
    with pytest.raises(UserError, match=r"32 of 64 photos have no out-of-fold score.*train --recipe easy"):
        with_replays(photos, Replay(recipe="easy"), tmp_path)
