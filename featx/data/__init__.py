"""Which images there are, of which class, in which split, and their pixels."""
