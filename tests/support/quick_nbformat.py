"""`nbformat`, imported in a tenth of the time.

`nbformat` imports jsonschema, which imports `rfc3987_syntax` if that is installed, and Jupyter installs it. Its import
compiles 39 grammars, which takes 3 s of CPU, to check a format of strings that no notebook has. jsonschema works
without `rfc3987_syntax`.
"""

import sys

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # its import raises ImportError now
import nbformat  # noqa: E402

del sys.modules["rfc3987_syntax"]

__all__ = ["nbformat"]
