"""One file: from its bytes to an upright RGB picture of 8 bits, or to the reason why not."""
