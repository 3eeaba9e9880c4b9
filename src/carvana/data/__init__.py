"""The data folder, photos and masks, folds, and batches for training."""
