"""What an operator sees and orders over HTTP: the page, its live feed, and its acts. It speaks to no server itself."""
