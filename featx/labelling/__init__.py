"""What to label next: the images that teach most, and what more labels would bring."""
