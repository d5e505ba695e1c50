"""`python -m glassbridge` is `glassbridge`."""

from glassbridge.cli.main import main

if __name__ == "__main__":
    main()
