"""Games: each a frozen record that is assembled into a final :class:`~equilibria.game.Game`; a family a file."""
