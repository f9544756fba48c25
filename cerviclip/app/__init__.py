"""From a trained run to a person's screen: prediction of new images. Research use only."""
