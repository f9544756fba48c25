"""Predictions and scores of a trained model, and checks of what may be in a test."""
