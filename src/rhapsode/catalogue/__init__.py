"""The model catalogue: which models there are, where they come from, and where they are kept."""
