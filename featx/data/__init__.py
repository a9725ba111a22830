"""Images by name, with classes, splits and hashes, and their pixels."""
