"""Games: each a frozen record that is assembled into a final :class:`~equilibria.core.game.Game`; a family a file."""
