"""The commands and their help."""

COMMANDS = {
    "fit": "Train a model, then test its best checkpoint.",
    "validate": "Measure a checkpoint on the validation set.",
    "test": "Measure a checkpoint on the test set.",
    "predict": "Print the class of each of your images.",
    "export": "Write a trained model as a program that runs without this package.",
    "curves": "Draw the learning curves of many runs as a figure or a page.",
}
