"""A dataset through the network into the feature store."""
