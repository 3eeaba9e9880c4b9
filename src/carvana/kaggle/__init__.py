"""The Kaggle client: download, upload and scores."""
