"""Predictions and scores of a trained model, and what may be in a test."""
