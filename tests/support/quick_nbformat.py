"""`nbformat`, imported in a tenth of the time.

It imports jsonschema, which imports `rfc3987_syntax` if that is installed, as Jupyter does: 39 grammars are compiled,
which takes 3 s of CPU, to check a format of strings that no notebook has. jsonschema works without.
"""

import sys

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # its import raises ImportError now
import nbformat  # noqa: E402

del sys.modules["rfc3987_syntax"]

__all__ = ["nbformat"]
