"""The kernels: plain WGSL, one file each, and one small file per weight type in `quant/`."""
