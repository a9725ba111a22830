"""Several labels an image: one classifier a label, its threshold, what is measured of all."""
