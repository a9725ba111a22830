"""Numbers as pictures: charts, and maps over the pictures that they are of."""
