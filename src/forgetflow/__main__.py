"""`python -m forgetflow`: the command line."""

from forgetflow.cli.main import main

if __name__ == "__main__":
    main()
