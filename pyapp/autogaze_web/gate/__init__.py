"""The parity gate: what PyTorch computed on CUDA, written down, and any runtime held to it."""
