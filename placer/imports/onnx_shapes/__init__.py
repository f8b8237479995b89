"""What is known of an ONNX graph before it runs: shapes, small values, control flow. No costs."""
