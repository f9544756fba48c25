"""Prediction of new images by a trained run: commands, web page, API. Research use only."""
