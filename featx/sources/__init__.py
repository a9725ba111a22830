"""Where images come from: folders and manifests, with their classes, splits and groups."""
