"""The paper's experiments: their runs, the runner, and the report."""
