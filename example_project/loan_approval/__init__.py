"""A mortgage-approval model, trained as a lender would train it, for the gate to judge."""
