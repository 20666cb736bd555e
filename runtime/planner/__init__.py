"""From a graph to a plan: fusing, choosing kernels, laying out buffers, estimating memory."""
