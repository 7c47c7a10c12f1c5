"""Loading a local model and decoding with it, one masked step after another."""
