"""Training across centres by Flower: images stay where they are, weights travel."""
