"""What a proof leaves behind, and the program that proves it again."""
