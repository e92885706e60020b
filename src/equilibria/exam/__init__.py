"""The doctor's own exam: planted diseases, healthy runs, and what it says of them."""
