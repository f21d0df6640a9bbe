"""What runpushserver runs: Daphne, on a loop and on sockets of our choice.

Importing the package alone leaves Twisted without a reactor.
"""
