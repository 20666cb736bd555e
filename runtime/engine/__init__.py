"""The engine: resident weights, the KV cache, sequences, and running a plan."""
