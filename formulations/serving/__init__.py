"""Programs for serving: packing layers with covers and blocks, ranges, passages between devices, sharing."""
