"""The competition's rules: names, cars and angles, run-length encoding, Dice."""

SIZE = (1280, 1918)
"""Height and width in pixels of every photo that Kaggle scores. Only the check before an upload uses it:
everything else reads a photo's size from its file."""
