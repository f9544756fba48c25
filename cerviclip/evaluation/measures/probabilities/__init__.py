"""Whether probabilities can be trusted: calibration, proper scores, prediction sets."""
