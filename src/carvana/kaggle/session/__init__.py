"""The part of the project that runs in a Kaggle notebook: `python -m carvana.kaggle.session FOLDER SHA256`."""
