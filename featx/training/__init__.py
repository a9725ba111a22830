"""What everything that is trained shares: the epochs, the model file, scores, calibration."""
