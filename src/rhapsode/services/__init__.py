"""One function per thing that the product does, one write transaction each."""
