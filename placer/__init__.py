"""Place the operators of a neural network on several devices, with a proven bound."""
