"""The command line of the project: ``python main.py fit --config configs/san_cifar.yaml``."""

from set_aggregation.cli import main

if __name__ == "__main__":
    main()
