"""Container networking for fleets of Linux hosts: declared in an inventory, provisioned over SSH."""

__version__ = "0.1.0"
