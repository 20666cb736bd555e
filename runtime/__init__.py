"""Language models on WebGPU, driven from Python."""
