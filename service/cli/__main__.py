"""``python -m service.cli`` is ``deepmedix``, for launchers that take a module."""

from service.cli import main

if __name__ == "__main__":
    main()
