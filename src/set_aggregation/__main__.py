"""``python -m set_aggregation``."""

from set_aggregation.cli import main

if __name__ == "__main__":
    main()
