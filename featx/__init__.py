"""featx: frozen ImageNet features, the classifiers on them, and an honest comparison."""

__version__ = "0.1.0"
