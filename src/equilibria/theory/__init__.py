"""Theory: statements of the field as pure functions; imports nothing of ours."""
