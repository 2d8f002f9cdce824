"""The paper's experiments: which runs they need, making them, and the report."""
