"""What the benches run in processes of their own; see `tests.bench.child`."""
