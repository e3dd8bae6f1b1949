"""Storage classes of the clouds, their prices, and how an object is moved between them."""
