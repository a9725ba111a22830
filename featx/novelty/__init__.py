"""What a model does not know: scores of strangers, calibrated on held-out rows, and sets."""
