"""The competition's rules: names, cars and angles, run-length encoding, Dice."""

SIZE = (1280, 1918)
"""Height and width of every photo that Kaggle scores, in pixels. Only the Kaggle check needs it:
everything else takes a photo's size from the photo."""
