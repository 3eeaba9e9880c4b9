"""Find the car in a photo, pixel by pixel."""

import os

# Read by the libraries when they are imported: no start-up messages of TensorFlow, no check for updates.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
