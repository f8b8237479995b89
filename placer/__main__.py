"""``python -m placer``: the command line."""

import sys

from placer.cli import main

sys.exit(main())
