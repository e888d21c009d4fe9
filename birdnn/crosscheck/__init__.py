"""The same question to someone else: engines that birdnn did not write."""
