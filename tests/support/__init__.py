"""Oracles and generators that tests share."""
