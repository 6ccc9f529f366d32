"""Programs that are run as guests, and the host end that drives them."""
