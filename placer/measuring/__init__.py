"""What this machine really takes: operators, copies between devices; and the catalogue fitted to it."""
