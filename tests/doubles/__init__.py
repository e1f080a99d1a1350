"""What is outside the product, over real wires: doubles that fail on request, real servers to share."""
