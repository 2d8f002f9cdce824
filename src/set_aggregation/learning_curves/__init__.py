"""Learning curves drawn: of one run, and of many side by side."""
