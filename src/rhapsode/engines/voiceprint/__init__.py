"""The embedded diariser: two small networks on ONNX Runtime, and clustering in numpy."""
