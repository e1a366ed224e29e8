"""The command `logistack`: proofs that a table is linearly separable or is not, and their check."""

from logistack.cli.command import main as main
