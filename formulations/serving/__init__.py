"""Programs for serving: packing layers with covers and blocks, ranges and flows, passages between devices."""
