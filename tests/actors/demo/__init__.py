"""The demo, piece by piece and as a whole."""
