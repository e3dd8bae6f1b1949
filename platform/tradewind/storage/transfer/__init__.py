"""What moves between places: where they are, what it costs, and how much it was."""
