"""One extraction on many machines: a plan, its shards, a cluster, one file."""
