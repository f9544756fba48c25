"""The members of a predictor: trained runs, and how their probabilities are combined."""
