"""The paper's experiments: their grids, the runner that fills ``results/``, and the report made of it."""
