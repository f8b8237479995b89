"""From a request to a verified result, and what to say of it; the only folder that composes the steps."""
