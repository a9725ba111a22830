"""The baseline: the network itself is trained, images through it in every epoch."""
