"""``python -m daskksvd`` is the same as ``daskksvd``."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="daskksvd")
