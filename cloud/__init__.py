"""The cloud's side: feeds out of the API server, the embedded API server. Start with `site.py`."""
