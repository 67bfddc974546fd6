"""Site files: one typed, frozen schema, strict loading, hot reload. Start with `schema.py`."""
