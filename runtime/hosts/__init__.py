"""Implementations of `host.py`: the only rooms that know wgpu, numpy, threads or a browser."""
