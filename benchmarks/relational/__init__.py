"""Pairs of networks: does nothing that was done to a network change its outputs by more than a threshold?"""
