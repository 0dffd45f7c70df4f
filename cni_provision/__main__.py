"""`python -m cni_provision`."""

from cni_provision.cli.main import main

if __name__ == "__main__":
    main()
