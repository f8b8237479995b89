"""Bounds by hubs: what the devices that hold them pay."""
