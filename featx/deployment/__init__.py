"""Trained models at work: predictions on new images, exports for other runtimes."""
