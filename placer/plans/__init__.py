"""What a plan is, costs and breaks, and the result document: from the instance alone; no solver."""
