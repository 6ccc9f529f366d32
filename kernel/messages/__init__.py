"""What passes between processes, and what wakes them."""
