"""ModelEnsemble, and the folders that trained ones lie in."""
