"""What every search uses: its clock and limits, and the process that guards it; no algorithm."""
