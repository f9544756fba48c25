"""Which images to label next: strategies, rounds of labelling and training, budget curves."""
