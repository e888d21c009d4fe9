"""Sound lower bounds of a property's margin on batches of boxes, one file for each method."""
