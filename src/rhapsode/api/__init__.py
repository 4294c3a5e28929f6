"""The HTTP surfaces: they translate, and leave the doing to the services."""
