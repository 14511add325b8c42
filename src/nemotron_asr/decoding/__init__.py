"""Loops over the transducer's predictor and joint.

greedy.py       batched greedy search
beam.py         batched beam search; hypotheses.py: what a beam holds
boosting.py     likely phrases -> a tree; bias.py: the trees of a batch of streams, and the tokens that are ruled out
fusion.py       a word model beside the transducer; ngram.py: n-grams from ARPA files
"""
