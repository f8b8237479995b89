"""What users and papers compare with: simple rules and other people's methods."""
