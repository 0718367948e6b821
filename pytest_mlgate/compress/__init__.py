"""Makes variants of the candidate and finds the cheapest that meets the whole budget."""
