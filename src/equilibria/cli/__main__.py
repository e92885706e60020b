"""`python -m equilibria.cli`."""

import sys

from . import main

sys.exit(main())
