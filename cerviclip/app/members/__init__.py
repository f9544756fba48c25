"""What a predictor is made of: trained runs, and how their probabilities become one."""
