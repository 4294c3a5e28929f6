"""The model catalogue: which models there are, where they come from, where they are kept."""
