"""What the features say about the data: copies, leaks, wrong labels, poor pictures."""
