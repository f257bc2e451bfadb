"""From an AutoGaze checkpoint to ONNX graphs: the network, its graphs, export and parity."""
