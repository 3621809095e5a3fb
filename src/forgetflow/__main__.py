"""`python -m forgetflow`: the command line."""

from forgetflow.cli import main

if __name__ == "__main__":
    main()
