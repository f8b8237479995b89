"""Methods that build a mathematical program and hand it to the solver."""
