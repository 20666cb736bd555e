"""The host for a desktop: wgpu-py, memory-mapped files, the Rust tokenizers, one engine thread."""
