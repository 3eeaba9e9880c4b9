"""Kaggle through its own client: download, upload and scores."""
