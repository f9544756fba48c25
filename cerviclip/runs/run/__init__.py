"""One run: train, predict, score, and the files it leaves in its folder."""
